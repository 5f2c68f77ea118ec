//! A launcher whose terminal belongs to another job: it does not read keys, and reports that.

use tests::files::Scratch;
use tests::{End, Pty, Running, program};

use super::probe;

/// Runs this shell command on a terminal.
fn shell(scratch: &Scratch, command: &str) -> Running {
    program(&["sh", "-c", command], scratch.path(), Pty::new(30, 100))
}

#[test]
fn under_timeout_lguest_names_the_option_that_lets_it_read_keys() {
    let scratch = Scratch::new();
    let launch = probe("console").shell_line();
    let mut running = shell(&scratch, &format!("timeout 60 {launch}; echo status $?"));
    running.expect("hello 100x30");
    running.expect_stderr("timeout --foreground");
    assert!(!running.pty().snapshot().is_raw());
    let launcher = running.family().into_iter().find(|process| process.thread("vcpu0").is_some());
    launcher.unwrap().signal(nix::sys::signal::Signal::SIGTERM);
    running.expect("status 143");
    assert_eq!(running.wait(), End::Status(0));
    let said = running.stderr();
    assert!(!said.contains("Input/output error"), "{said}");
    assert_eq!(said.matches("timeout --foreground").count(), 1, "{said}");
}

#[test]
fn with_timeout_foreground_lguest_reads_keys() {
    let scratch = Scratch::new();
    let launch = probe("console").shell_line();
    let mut running = shell(&scratch, &format!("timeout --foreground 60 {launch}; echo ended $?"));
    running.expect("hello 100x30");
    running.send("\x1ep");
    running.expect("ended 0");
    assert_eq!(running.wait(), End::Status(0));
    assert_eq!(running.stderr(), "");
}

/// A boot test does not read keys.
#[test]
fn a_boot_test_in_the_background_prints_no_message_about_keys() {
    let scratch = Scratch::new();
    let launch = probe("console").option("--expect=hello").shell_line();
    let mut running = shell(&scratch, &format!("timeout 60 {launch}; echo ended $?"));
    running.expect("ended 0");
    assert_eq!(running.wait(), End::Status(0));
    assert!(!running.stderr().contains("--foreground"), "{}", running.stderr());
}
