//! `lguest console`: clients at the consoles of a running guest. The guest is the probe, which
//! echoes its input on its first console.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Held, Pty, Running, console, environment, program, until};

use super::probe;

/// The escape key, ^].
const ESCAPE: u8 = 0x1d;

/// The byte that begins a command to the probe.
const COMMAND: u8 = 0x1e;

/// Starts a guest named "web" with two consoles, to which no client is attached.
fn web() -> Running {
    let launch = probe("console").option("--name=web").option("--console=sock");
    let running = launch.option("--console=sock").piped();
    until("the guest has printed", || {
        (running.lguest(&["log", "web"]).stdout == "hello 80x24\n").then_some(())
    });
    running
}

/// Attaches a client to a console of the guest.
fn attach(guest: &Running, words: &[&str]) -> Running {
    console(guest.runtime(), &[&["web"], words].concat())
}

#[test]
fn a_client_gets_earlier_output_and_its_keys_reach_the_guest() {
    let guest = web();
    let mut user = attach(&guest, &[]);
    user.expect("hello 80x24\n");
    assert!(user.pty().snapshot().is_raw());
    user.expect_stderr("attached to web, console 0; ^] leaves");
    user.send("some words");
    user.expect("some words");
    user.press(ESCAPE);
    assert_eq!(user.wait(), End::Status(0));
    user.assert_terminal_restored();
    assert!(user.stderr().contains("left the console; the guest goes on"), "{}", user.stderr());

    // Output that was shown once is not shown again. New output is.
    guest.lguest(&["send", "web", "0", "meanwhile"]).well();
    until("the guest has printed the line", || {
        guest.lguest(&["log", "web"]).well().ends_with("meanwhile").then_some(())
    });
    let mut user = attach(&guest, &["0"]);
    user.expect("meanwhile");
    assert!(!user.text().contains("some words"), "{}", user.text());
}

#[test]
fn the_escape_key_can_be_typed_and_changed() {
    let guest = web();
    let mut user = attach(&guest, &["--escape=^A"]);
    user.expect("hello");
    user.send([ESCAPE]);
    user.expect("\u{1d}");
    user.send([1, 1]);
    user.expect("\u{1}");
    user.send([1]);
    assert_eq!(user.wait(), End::Status(0));
    user.assert_terminal_restored();
}

/// The client has typed more than the guest has room for.
#[test]
fn a_client_can_detach_from_a_guest_that_does_not_read() {
    let guest = web();
    let mut user = attach(&guest, &[]);
    user.expect("hello 80x24\n");
    guest.lguest(&["pause", "web"]).well();
    let mut keys = vec![b'x'; 1 << 20];
    keys.push(ESCAPE);
    user.send_beside(keys);
    assert_eq!(user.wait(), End::Status(0));
    user.assert_terminal_restored();
}

#[test]
fn the_guest_gets_the_size_of_the_clients_window() {
    let guest = web();
    let mut user = attach(&guest, &[]);
    user.send([COMMAND, b'w']);
    user.expect("resized 100x30");
    assert!(guest.lguest(&["info", "web", "--json"]).well().contains("\"rows\":30"));
    user.send([COMMAND, b'w']);
    user.pty().resize(41, 133);
    user.expect("resized 133x41");
    user.press(ESCAPE);
    assert_eq!(user.wait(), End::Status(0));
}

#[test]
fn one_client_types_and_the_others_only_watch() {
    let guest = web();
    let mut first = attach(&guest, &[]);
    first.expect("hello");
    let mut second = attach(&guest, &[]);
    assert_eq!(second.wait(), End::Status(3));
    assert!(second.stderr().contains("in use by pid"), "{}", second.stderr());
    second.assert_terminal_restored();

    let mut watchers = [(); 2].map(|()| attach(&guest, &["--read-only"]));
    for watcher in &mut watchers {
        watcher.expect_stderr("looking on");
        watcher.send("not heard ");
    }
    first.send("to all");
    first.expect("to all");
    for watcher in &mut watchers {
        watcher.expect("to all");
    }
    assert!(!guest.lguest(&["log", "web"]).well().contains("not heard"));

    let mut third = attach(&guest, &["--force"]);
    assert_eq!(first.wait(), End::Status(4));
    assert!(first.stderr().contains("taken over by pid"), "{}", first.stderr());
    first.assert_terminal_restored();
    third.send("by the third");
    third.expect("by the third");
    for watcher in &mut watchers {
        watcher.expect("by the third");
    }
}

#[test]
fn a_client_gets_the_rest_of_the_output_and_the_reason_of_the_end() {
    let mut guest = web();
    let mut first = attach(&guest, &[]);
    // Wait before the next client attaches, because it would read the output otherwise.
    first.expect("hello");
    let mut users = [first, attach(&guest, &["-r"]), attach(&guest, &["1"])];
    for user in &mut users {
        user.expect_stderr("attached");
    }
    users[0].send(b"last words\x1ep".as_slice());
    assert_eq!(guest.wait(), End::Status(0));
    for user in &mut users {
        assert_eq!(user.wait(), End::Status(0));
        assert!(user.stderr().contains("guest powered off"), "{}", user.stderr());
        user.assert_terminal_restored();
    }
    for user in &mut users[..2] {
        user.expect("last words");
    }
}

#[test]
fn the_guest_does_not_notice_a_killed_client() {
    let guest = web();
    until("no client is connected", || guest.process().thread("client").is_none().then_some(()));
    let before = Held::at_rest(guest.process());
    for _ in 0..50 {
        let mut user = attach(&guest, &[]);
        user.expect_stderr("attached");
        user.process().signal(Signal::SIGKILL);
        assert_eq!(user.wait(), End::Killed(9));
        until("the console has no client that types", || {
            (!guest.lguest(&["info", "web", "--json"]).well().contains("writer")).then_some(())
        });
    }
    before.assert_again(guest.process());
    let mut user = attach(&guest, &[]);
    user.send("alive");
    user.expect("alive");
}

/// The output is much more than the ring and the socket hold.
#[test]
fn a_stopped_client_delays_the_guest_only_briefly() {
    let guest = web();
    let mut user = attach(&guest, &[]);
    user.expect("hello");
    user.process().signal(Signal::SIGSTOP);
    guest.lguest(&["send", "web", "0", "\u{1e}f4096\nflood done\n"]).well();
    until("the guest has printed all", || {
        guest.lguest(&["log", "web"]).well().ends_with("flood done\n").then_some(())
    });
    user.process().signal(Signal::SIGCONT);
    user.expect("flood done\n");
    assert!(user.stderr().contains("bytes of the guest's output are lost"), "{}", user.stderr());
}

#[test]
fn clients_can_only_watch_the_console_on_lguests_own_terminal() {
    let mut guest = probe("console").option("--name=web").on_terminal();
    guest.expect("hello");
    for words in [&["0"][..], &["--force"]] {
        let mut user = attach(&guest, words);
        assert_eq!(user.wait(), End::Status(3));
        assert!(user.stderr().contains("on the terminal of its lguest"), "{}", user.stderr());
    }
    let mut user = attach(&guest, &["-r"]);
    user.expect_stderr("attached");
    guest.send("seen twice");
    guest.expect("seen twice");
    user.expect("seen twice");
}

#[test]
fn stdin_from_a_file_is_typed() {
    let (guest, scratch) = (web(), Scratch::new());
    let keys = scratch.file("keys", "from a file");
    let line = format!(
        "XDG_RUNTIME_DIR={} exec {} console web < {}",
        guest.runtime().display(),
        environment::quoted(&environment::launcher()),
        keys.display()
    );
    let mut user = program(&["sh", "-c", &line], scratch.path(), Pty::new(30, 100));
    user.expect("from a file");
    user.process().signal(Signal::SIGTERM);
    assert_eq!(user.wait(), End::Status(143));
    assert!(user.stderr().contains("signal 15: left the console"), "{}", user.stderr());
}

#[test]
fn detaching_undoes_the_terminal_modes_that_the_guest_has_set() {
    let guest = web();
    let mut user = attach(&guest, &[]);
    user.expect("hello");
    user.send("\u{1b}[?1049h\u{1b}[?25lfull screen");
    user.expect("full screen");
    user.press(ESCAPE);
    assert_eq!(user.wait(), End::Status(0));
    user.expect("\u{1b}[?1049l\u{1b}[?25h");
}

/// `lguest console web | head -n 1` ends like this.
#[test]
fn a_client_ends_when_its_stdout_is_closed() {
    let guest = web();
    let line = format!(
        "XDG_RUNTIME_DIR={} {} console -r web | head -n 1",
        guest.runtime().display(),
        environment::quoted(&environment::launcher()),
    );
    let mut user = program(&["sh", "-c", &line], &PathBuf::from("/"), Pty::new(30, 100));
    user.expect("hello 80x24");
    let end = until("the client notices that its reader is gone", || {
        guest.lguest(&["send", "web", "0", "more\n"]).well();
        user.poll_end()
    });
    assert_eq!(end, End::Status(0));
    user.assert_terminal_restored();
}

/// The test runs twice, because output may come in any pieces.
#[test]
fn every_byte_goes_both_ways_unchanged() {
    let guest = web();
    let mut user = attach(&guest, &["--escape=none"]);
    user.expect("hello 80x24\n");
    // All bytes except the one that begins a command to the probe.
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != COMMAND).collect();
    for _ in 0..2 {
        user.send(&bytes);
        user.send("\u{1e}\u{1e}|");
        user.expect("\u{1e}|");
    }
    let echoed = user.output().bytes();
    let twice = [&bytes[..], b"\x1e|", &bytes[..], b"\x1e|"].concat();
    assert!(echoed.ends_with(&twice), "{echoed:?}");
}

#[test]
fn a_guest_reset_keeps_clients_attached_with_their_window_size() {
    let guest = web();
    let mut user = attach(&guest, &[]);
    user.expect("hello 80x24\n");
    for _ in 0..3 {
        user.send([COMMAND, b'r']);
        user.expect("hello 100x30\n");
    }
}

#[test]
fn a_client_reports_a_killed_launcher_in_one_line() {
    let guest = web();
    let mut users = [attach(&guest, &[]), attach(&guest, &["-r"]), attach(&guest, &["1"])];
    for user in &mut users {
        user.expect_stderr("attached");
    }
    guest.process().signal(Signal::SIGKILL);
    for user in &mut users {
        assert_eq!(user.wait(), End::Status(1));
        assert!(user.stderr().contains("the guest's launcher has ended"), "{}", user.stderr());
        user.assert_terminal_restored();
    }
}
