//! Each queue has its own thread and interrupt, and does no work without need.

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
    // These commands take time, and do not concern the queues.
    for _ in 0..20 {
        guest.lguest(&["list"]).well();
    }
    let calls = trace.detach_all();
    // Whatever the vCPU does, strace has recorded something.
    let vcpu = process.thread("vcpu0").unwrap();
    assert!(calls.contains_key(&vcpu.id), "{calls:?}");
    for queue in queues {
        // The thread slept in this call when strace attached, and still does.
        let calls = calls.get(&queue.id).cloned().unwrap_or_default();
        assert!(calls.len() <= 1, "{calls:?}");
        assert!(
            calls.iter().all(|call| call.contains("<unfinished") || call.contains("detached")),
            "{calls:?}"
        );
    }
    // The threads do not spin in user mode either.
    for queue in queues {
        assert!(queue.sleeps(), "thread {} is at work", queue.id);
    }
    assert_eq!(guest.run("echo alive"), "alive");
}
