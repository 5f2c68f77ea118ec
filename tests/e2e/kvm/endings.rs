//! How a guest ends, and what the launcher makes of it.

use tests::{End, Launch, Running};

use super::probe;

fn run(launch: &Launch) -> (End, Running) {
    let mut running = launch.piped();
    (running.wait(), running)
}

#[test]
fn power_off_is_status_0_without_a_word() {
    let (end, running) = run(&probe("poweroff"));
    assert_eq!((end, running.stderr()), (End::Status(0), String::new()));
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
fn every_reset_is_seen_for_what_it_is() {
    let ways = [
        ("acpi", "ACPI reset register"),
        ("cf9", "port 0xcf9"),
        ("keyboard", "keyboard controller"),
        ("triple", "triple fault"),
    ];
    for (way, words) in ways {
        // AMD's CPUs lose what tells a triple fault from a crash: announced.
        let launch = probe(&format!("reset={way}")).argument("reboot=t").option("--no-reboot");
        let (end, running) = run(&launch);
        assert_eq!(end, End::Status(0), "{way}");
        assert!(running.stderr().contains(words), "{way}: {}", running.stderr());
    }
}

#[test]
fn a_triple_fault_that_nobody_wanted_is_a_crash() {
    let (end, running) = run(&probe("crash=triple"));
    assert_eq!(end, End::Status(102));
    assert!(running.stderr().contains("triple fault"), "{}", running.stderr());
    assert!(!running.stderr().contains("lguest check"), "it is the guest's own fault");
}

#[test]
fn a_crash_is_told_in_a_few_readable_lines() {
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
fn somebody_who_asked_for_words_is_told_of_silence() {
    let mut running = probe("hang=halt").option("--verbose").piped();
    running.expect_stderr("printed nothing");
    running.process().signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.wait(), End::Status(143));
}
