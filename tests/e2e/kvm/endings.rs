//! How a guest ends, and what the launcher reports.

use std::path::Path;

use nix::sys::signal::Signal;
use tests::files::{self, Scratch};
use tests::{End, Launch, Pty, Running, environment, patience, program};

use super::probe;

fn run(launch: &Launch) -> (End, Running) {
    let mut running = launch.piped();
    (running.wait(), running)
}

#[test]
fn a_power_off_is_status_0_without_a_message() {
    let (end, running) = run(&probe("poweroff").option("--console=null"));
    assert_eq!((end, running.stderr()), (End::Status(0), String::new()));
    let mut running = probe("console").fed("\x1ep");
    assert_eq!((running.wait(), running.stderr()), (End::Status(0), String::new()));
}

#[test]
fn a_guest_that_never_had_a_console_is_reported() {
    let lost = "lguest: the guest has ended, and its messages are lost: it had no driver for its \
                console (virtio_console): ";
    let (end, running) = run(&probe("poweroff"));
    assert_eq!(end, End::Status(0));
    let said = running.stderr();
    assert!(said.starts_with(lost) && said.contains("give it with --initrd"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");

    let scratch = Scratch::new();
    let initrd = scratch.file("initrd", files::initrd(&[]));
    let (_, running) = run(&probe("poweroff").initrd(initrd));
    let said = running.stderr();
    assert!(said.starts_with(lost) && !said.contains("--initrd"), "{said}");

    let (_, running) = run(&probe("reset=acpi").option("--no-reboot"));
    assert!(running.stderr().starts_with(lost), "{}", running.stderr());

    let (_, running) = run(&probe("hang=halt").option("--timeout=1s"));
    let said = running.stderr();
    assert!(said.contains("it had no driver for its console"), "{said}");

    // These guests have printed something on the serial port, or ended with a status.
    for speaks in [probe("serial=early-words").option("--earlycon"), probe("status=3")] {
        let (_, running) = run(&speaks);
        assert!(!running.stderr().contains("driver"), "{}", running.stderr());
    }
}

/// A kernel that panics before it has a console restarts forever.
#[test]
fn a_guest_that_restarts_without_a_console_is_reported_once() {
    let mut running = probe("reset=acpi").option("--verbose").piped();
    for _ in 0..3 {
        running.expect_stderr("guest reset by");
    }
    running.process().signal(Signal::SIGTERM);
    assert_eq!(running.wait(), End::Status(143));
    let said = running.stderr();
    let lost = "the guest restarts, and its messages are lost: it had no driver for its console";
    assert_eq!(said.matches(lost).count(), 1, "{said}");
}

#[test]
fn port_501_gives_the_status() {
    for status in [0, 1, 42, 255] {
        assert_eq!(run(&probe(&format!("status={status}"))).0, End::Status(status));
    }
}

#[test]
fn a_panic_is_status_101() {
    let (end, running) = run(&probe("panic"));
    assert_eq!(end, End::Status(101));
    assert!(running.stderr().contains("guest panicked"));
}

#[test]
fn every_kind_of_reset_is_reported_by_name() {
    let ways = [
        ("acpi", "ACPI reset register"),
        ("cf9", "port 0xcf9"),
        ("keyboard", "keyboard controller"),
        ("triple", "triple fault"),
    ];
    for (way, words) in ways {
        // AMD's CPUs do not tell a triple fault from a crash, so the guest announces it with
        // reboot=t.
        let launch = probe(&format!("reset={way}")).argument("reboot=t").option("--no-reboot");
        let (end, running) = run(&launch);
        assert_eq!(end, End::Status(0), "{way}");
        assert!(running.stderr().contains(words), "{way}: {}", running.stderr());
    }
}

#[test]
fn an_unintended_triple_fault_is_a_crash() {
    let (end, running) = run(&probe("crash=triple"));
    assert_eq!(end, End::Status(102));
    assert!(running.stderr().contains("triple fault"), "{}", running.stderr());
    assert!(!running.stderr().contains("lguest check"), "it is the guest's own fault");
}

#[test]
fn a_crash_is_reported_in_a_few_readable_lines() {
    if is_native() {
        return; // A KVM that runs everything gives no internal error.
    }
    let (end, running) = run(&probe("crash=emulation"));
    let words = running.stderr();
    assert_eq!(end, End::Status(102), "{words}");
    for part in ["KVM internal error", "rip 0x", "instruction: ", "cr3", "lguest check"] {
        assert!(words.contains(part), "no {part:?} in {words}");
    }
    assert!(words.lines().count() <= 8, "{words}");
}

fn is_native() -> bool {
    let check = std::process::Command::new(tests::environment::launcher()).arg("check").output();
    check.unwrap().status.success()
}

#[test]
fn early_messages_come_out_before_any_driver() {
    let (end, running) = run(&probe("serial=early-words").option("--earlycon"));
    assert_eq!(end, End::Status(0));
    assert!(running.text().contains("early-words"), "{}", running.text());
}

#[test]
fn with_verbose_a_guest_without_output_is_reported() {
    let mut running = probe("hang=halt").option("--verbose").piped();
    running.expect_stderr("printed nothing");
    running.process().signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.wait(), End::Status(143));
}

#[test]
fn on_a_terminal_a_guest_without_output_is_reported() {
    let line = format!("exec {} 2>&1", probe("hang=halt").shell_line());
    let words = ["sh", "-c", &line];
    let mut running = program(&words, Path::new("/"), Pty::new(24, 200));
    let words = "lguest: the guest has printed nothing so far: it had no driver";
    running.expect_within(words, patience() * 4);
    running.press_three_ctrl_c();
    assert_eq!(running.wait(), End::Status(130));
    running.assert_terminal_restored();
}

#[test]
fn kernel_arguments_that_hide_all_output_cause_a_warning() {
    for (words, warning) in [
        (&["pci=off"][..], "pci=off on the kernel command line: the guest cannot use its console"),
        (&["acpi=off", "pci=nomsi"], "acpi=off pci=nomsi on the kernel command line: "),
        (&["console=ttyS0"], "console=ttyS0 on the kernel command line: the guest has no such"),
        (&["earlyprintk=ttyS0"], "a serial port only with --earlycon"),
    ] {
        let launch = words.iter().fold(probe("console"), |launch, word| launch.argument(word));
        let mut running = launch.fed("\x1ep");
        assert_eq!(running.wait(), End::Status(0));
        let said = running.stderr();
        assert!(said.contains(warning), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn an_initrd_of_an_unknown_format_causes_a_warning() {
    let scratch = Scratch::new();
    let text = scratch.file("text", "hello");
    for (file, warning) in [
        (text, "text: it is not an initial file system that Linux knows ("),
        (environment::probe(), "probe: it is an ELF file ("),
    ] {
        let mut running = probe("console").initrd(file).fed("\x1ep");
        assert_eq!(running.wait(), End::Status(0));
        let said = running.stderr();
        assert!(said.contains(warning) && said.lines().count() == 1, "{said}");
    }
}
