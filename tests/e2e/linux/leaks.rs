//! Repeated operations of Linux leak nothing.

use tests::files::Scratch;
use tests::{End, Guest, Held, Launch, environment};

/// LGUEST_TEST_REBOOTS is the number of reboots; 200 are a thorough run.
#[test]
fn reboots_leak_nothing() {
    let mut guest = Guest::boot();
    let mut reboot = || {
        guest.type_line("reboot -f");
        guest.expect("guest# ");
        guest.process()
    };
    let process = reboot();
    let (before, memory) = (Held::at_rest(process), process.memory_beyond_guest());
    for _ in 0..environment::reboots() {
        reboot();
    }
    before.assert_again(process);
    let grown = process.memory_beyond_guest().saturating_sub(memory);
    assert!(grown < 1024, "{grown} KiB more than before");
    assert_eq!(guest.power_off(), End::Status(0));
}

/// The driver is unbound from the console and bound again.
#[test]
fn unbinding_and_binding_the_driver_leaks_nothing() {
    // Linux may number the console anew each time; device files without a console do not open.
    let rounds = 20;
    let job = format!(
        "exec < /dev/null > /dev/null 2>&1
        cd /sys/bus/virtio/drivers/virtio_console
        for round in $(seq {rounds}); do echo virtio0 > unbind; echo virtio0 > bind; done
        number=0
        until (: <> /dev/hvc$number); do number=$(((number + 1) % 8)); sleep 0.1; done
        exec <> /dev/hvc$number >&0 2>&1
        echo BOUND AGAIN
        read -r line
        echo \"HEARD $line\""
    );
    let scratch = Scratch::new();
    let mut running = Launch::job(&job, &scratch).piped();
    running.expect("BOUND AGAIN");
    let threads = running.process().threads();
    for name in ["con0-rx", "con0-tx"] {
        assert_eq!(threads.iter().filter(|thread| *thread == name).count(), 1, "{threads:?}");
    }
    running.send("something\n");
    running.expect("HEARD something");
    assert_eq!(running.wait(), End::Status(0));
}
