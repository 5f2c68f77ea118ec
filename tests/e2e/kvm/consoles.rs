//! Consoles that are not on this terminal, and command lines that ask for what
//! cannot be.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Running, environment, until};

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
    // To open it would be to wait for its reader, deaf to everything.
    let pipe = scratch.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (options, status, words) in [
        (vec!["--console=stdio".into(), "--console=stdio".into()], 1, "given twice"),
        (vec![format!("--console=file={}", missing.display())], 1, "no/log: No such file"),
        (vec![format!("--console=file={}", pipe.display())], 1, "nobody reads this pipe"),
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

/// A guest named "web" with two consoles: it echoes what it reads on the first, and
/// leaves the second alone.
fn web() -> Running {
    let launch = probe("console").option("--name=web").option("--console=null");
    let running = launch.option("--console=null").piped();
    until("the guest has printed", || {
        let log = running.lguest(&["log", "web"]);
        (log.stdout == "hello 80x24\n").then_some(())
    });
    running
}

#[test]
fn what_was_printed_can_be_read_from_outside() {
    let running = web();
    let counts = running.lguest(&["peek", "web", "--json"]).well();
    assert_eq!(counts, "{\"dropped\":0,\"unread\":12}\n");
    for _ in 0..2 {
        assert_eq!(running.lguest(&["peek", "web", "0"]).well(), "hello 80x24\n");
    }
    assert_eq!(running.lguest(&["peek", "web", "--max", "5"]).well(), "hello");
    assert_eq!(running.lguest(&["log", "web", "1"]).well(), "");
}

#[test]
fn what_is_sent_is_typed_once() {
    let running = web();
    assert_eq!(running.lguest(&["send", "web", "0", "over here"]).well(), "");
    until("the guest has read it", || {
        let log = running.lguest(&["log", "web"]).well();
        (log == "hello 80x24\nover here").then_some(())
    });
    assert_eq!(running.lguest(&["peek", "web", "0", "--input"]).well(), "");
}

#[test]
fn what_the_guest_does_not_read_waits_and_can_be_seen() {
    let (running, scratch) = (web(), Scratch::new());
    running.lguest(&["send", "web", "1", "echo hi\n"]).well();
    for _ in 0..2 {
        assert_eq!(running.lguest(&["peek", "web", "1", "--input"]).well(), "echo hi\n");
    }
    assert_eq!(running.lguest(&["peek", "web", "1", "--input", "--max", "3"]).well(), "ech");
    let counts = running.lguest(&["peek", "web", "1", "--input", "--json"]).well();
    assert_eq!(counts, "{\"unread\":8}\n");

    // More than there is room for, from stdin.
    let much = fs::File::open(scratch.file("much", vec![b'x'; 3 << 20])).unwrap();
    let mut send = Command::new(environment::launcher());
    send.args(["send", "web", "1", "-"]).env("XDG_RUNTIME_DIR", running.runtime());
    let said = send.stdin(much).output().unwrap();
    assert_eq!(said.status.code(), Some(75));
    let said = String::from_utf8(said.stderr).unwrap();
    let (_, count) = said.trim_end().split_once("does not read its console: ").unwrap();
    let sent: usize = count.split(' ').next().unwrap().parse().unwrap();
    let unread = running.lguest(&["peek", "web", "1", "--input"]).well();
    assert!(sent > 4095 && unread.len() == sent + 8, "{sent} sent, {} unread", unread.len());
    assert!(unread.starts_with("echo hi\nxxx") && unread.ends_with("xxx"));
}

#[test]
fn a_window_has_the_size_that_it_is_given() {
    let running = web();
    running.lguest(&["send", "web", "0", "\u{1e}w"]).well();
    running.lguest(&["resize", "web", "0", "41", "133"]).well();
    until("the guest hears of it", || {
        running.lguest(&["log", "web"]).well().ends_with("133x41\n").then_some(())
    });
}

#[test]
fn a_console_that_there_is_not_is_named() {
    let running = web();
    for words in [
        &["log", "web", "77"][..],
        &["peek", "web", "77"],
        &["send", "web", "77", "text"],
        &["resize", "web", "77", "24", "80"],
    ] {
        let line = running.lguest(words).one_line();
        assert!(line.contains("no console 77: there are 0 to 1"), "{line}");
    }
    assert!(running.lguest(&["log", "nobody"]).one_line().contains("no guest nobody"));
}
