//! How a Linux guest ends, what the launcher reports, and how the guest starts again.

use nix::sys::signal::Signal;
use tests::files::{self, Scratch};
use tests::{End, Guest, Launch, kernel};

/// Launches a guest whose initial file system has a file /stamp with this text.
fn stamped(scratch: &Scratch, stamp: &str) -> Launch {
    Launch::linux().initrd(scratch.file("stamp", files::initrd(&[("stamp", stamp.as_bytes())])))
}

#[test]
fn a_reboot_reads_kernel_and_initrd_anew() {
    let scratch = Scratch::new();
    let mut guest = Guest::of(stamped(&scratch, "first\n").on_terminal());
    let started = guest.process().start_time();
    assert_eq!(guest.run("cat /stamp"), "first");

    stamped(&scratch, "second\n");
    guest.type_line("reboot -f");
    guest.expect("guest# ");

    assert_eq!(guest.run("cat /stamp"), "second");
    assert_eq!(guest.process().start_time(), started);
    assert!(guest.pty().snapshot().is_raw());
    assert_eq!(guest.power_off(), End::Status(0));
    guest.assert_terminal_restored();
    guest.assert_nothing_left();
}

/// The machine supports each way in which Linux can reset it.
#[test]
fn every_reboot_method_of_linux_is_recognized() {
    for (argument, register) in [
        ("reboot=a", "ACPI reset register"),
        ("reboot=p", "port 0xcf9"),
        ("reboot=k", "keyboard controller"),
        ("reboot=t", "triple fault"),
    ] {
        let launch = Launch::linux().argument(argument).option("--no-reboot");
        let mut guest = Guest::of(launch.on_terminal());
        guest.type_line("reboot -f");
        assert_eq!(guest.wait(), End::Status(0), "{argument}");
        assert!(guest.stderr().contains(register), "{argument}: {}", guest.stderr());
        guest.assert_terminal_restored();
    }
}

#[test]
fn a_triple_fault_reboots_in_place_too() {
    let mut guest = Guest::of(Launch::linux().argument("reboot=t").on_terminal());
    guest.type_line("reboot -f");
    guest.expect("guest# ");
    assert_eq!(guest.run("echo again"), "again");
    assert_eq!(guest.power_off(), End::Status(0));
}

#[test]
fn a_panic_is_status_101() {
    let mut guest = Guest::boot();
    guest.type_line("echo c > /proc/sysrq-trigger");
    assert_eq!(guest.wait(), End::Status(101));
    assert!(guest.stderr().contains("guest panicked"), "{}", guest.stderr());
    guest.assert_terminal_restored();
    guest.assert_nothing_left();
}

#[test]
fn a_byte_to_port_501_is_the_status() {
    let scratch = Scratch::new();
    let program = files::initrd(&[("end", &kernel::port_program(0x501, 42))]);
    let launch = Launch::linux().initrd(scratch.file("program", program));
    let mut guest = Guest::of(launch.on_terminal());
    guest.type_line("/end");
    assert_eq!(guest.wait(), End::Status(42));
    guest.assert_terminal_restored();
    guest.assert_nothing_left();
}

#[test]
fn signals_end_the_launcher_and_restore_the_terminal() {
    for (signal, end) in [
        (Signal::SIGTERM, End::Status(143)),
        (Signal::SIGINT, End::Status(130)),
        (Signal::SIGHUP, End::Status(129)),
        (Signal::SIGQUIT, End::Status(131)),
        (Signal::SIGKILL, End::Killed(9)),
    ] {
        let mut guest = Guest::boot();
        guest.process().signal(signal);
        assert_eq!(guest.wait(), end, "{signal}");
        guest.assert_terminal_restored();
        guest.assert_nothing_left();
    }
}
