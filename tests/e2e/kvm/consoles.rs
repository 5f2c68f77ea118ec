//! Consoles that are not on this terminal, and command lines that ask for what
//! cannot be.

use std::fs;

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, until};

use super::probe;

#[test]
fn a_console_in_a_file_leaves_the_terminal_alone() {
    let scratch = Scratch::new();
    let file = scratch.file("log", "old");
    let launch = probe("console").option(&format!("--console=file={}", file.display()));
    let mut running = launch.on_terminal();
    let before = running.pty().snapshot();
    let printed = || fs::read_to_string(&file).unwrap();
    until("the guest prints into the file", || {
        printed().starts_with("hello 80x24\n").then_some(())
    });
    assert!(!before.is_raw() && !running.pty().snapshot().is_raw());
    assert!(running.process().thread("con0-file").is_some());
    assert!(running.process().thread("stdin").is_none());
    running.process().signal(Signal::SIGINT);
    assert_eq!(running.wait(), End::Status(130));
    assert_eq!(running.text(), "");
    running.assert_terminal_restored();
    running.assert_nothing_left();
}

#[test]
fn a_file_is_appended_to_if_that_is_asked_for() {
    let scratch = Scratch::new();
    let file = scratch.file("a,log", "old\n");
    let path = file.to_str().unwrap().replace(',', ",,");
    let launch = probe("console").option(&format!("--console=file={path},append"));
    let mut running = launch.option("--console=null").on_terminal();
    until("the guest has printed", || {
        fs::read_to_string(&file).unwrap().ends_with("hello 80x24\n").then_some(())
    });
    running.process().signal(Signal::SIGTERM);
    assert_eq!(running.wait(), End::Status(143));
    assert_eq!(fs::read_to_string(&file).unwrap(), "old\nhello 80x24\n");
}

#[test]
fn what_cannot_be_is_refused_in_a_line() {
    let scratch = Scratch::new();
    let missing = scratch.path().join("no/log");
    for (options, status, words) in [
        (vec!["--console=stdio".into(), "--console=stdio".into()], 1, "given twice"),
        (vec![format!("--console=file={}", missing.display())], 1, "no/log: No such file"),
        (vec!["--console=multiport".into()], 2, "multiport"),
        (vec!["--console=stdio,foo=1".into()], 2, "foo=1"),
    ] {
        let launch = options.iter().fold(probe("console"), |launch, option| launch.option(option));
        let mut running = launch.on_terminal();
        assert_eq!(running.wait(), End::Status(status), "{options:?}");
        assert!(running.stderr().contains(words), "{}", running.stderr());
        running.assert_terminal_restored();
        running.assert_nothing_left();
    }
}
