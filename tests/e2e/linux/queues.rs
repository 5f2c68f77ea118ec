//! A thread and an interrupt of its own for each queue, and no work without need.

use tests::files::Scratch;
use tests::{Guest, Strace};

#[test]
fn each_queue_has_an_interrupt_and_a_thread_that_sleeps() {
    let mut guest = Guest::boot();
    let interrupts = guest.run("cat /proc/interrupts");
    for name in ["virtio0-config", "virtio0-input", "virtio0-output"] {
        let line = interrupts.lines().find(|line| line.ends_with(name)).unwrap();
        assert!(line.contains("PCI-MSI"), "{line}");
    }
    assert_eq!(interrupts.matches("virtio").count(), 3);

    let process = guest.process();
    for name in ["con0-rx", "con0-tx", "vcpu0", "stdin", "stdout", "control"] {
        assert!(process.thread(name).is_some(), "{name} is not in {:?}", process.threads());
    }
    assert_eq!(process.threads().len(), 7, "{:?}", process.threads());

    let queues = ["con0-rx", "con0-tx"].map(|name| process.thread(name).unwrap());
    let scratch = Scratch::new();
    let trace = Strace::attach(process, scratch.path(), &[]);
    // What takes its time, and has nothing to do with them.
    for _ in 0..20 {
        guest.lguest(&["list"]).well();
    }
    let calls = trace.detach_all();
    // Whatever the vCPU does there, strace has seen something.
    let vcpu = process.thread("vcpu0").unwrap();
    assert!(calls.contains_key(&vcpu.id), "{calls:?}");
    for queue in queues {
        // The call that it slept in when strace came, and still sleeps in.
        let calls = calls.get(&queue.id).cloned().unwrap_or_default();
        assert!(calls.len() <= 1, "{calls:?}");
        assert!(
            calls.iter().all(|call| call.contains("<unfinished") || call.contains("detached")),
            "{calls:?}"
        );
    }
    // Nor do they spin without one.
    for queue in queues {
        assert!(queue.sleeps(), "thread {} is at work", queue.id);
    }
    assert_eq!(guest.run("echo alive"), "alive");
}
