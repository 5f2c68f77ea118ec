//! `--detach`: guests in the background, and clients that wait for them (`lguest console --wait`,
//! `--persist`).

use std::fs::{self, File};
use std::process::Stdio;

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Launch, Running, console, until};

use super::probe;

/// The escape key, ^].
const ESCAPE: u8 = 0x1d;

/// Returns the number of launchers in the background.
fn left_alone(running: &Running) -> usize {
    running.family().len()
}

/// Whether the client watches a directory for a guest to start.
fn waits(user: &Running) -> bool {
    user.process().descriptors().iter().any(|file| file.contains("inotify"))
}

#[test]
fn the_name_is_printed_when_the_guest_runs() {
    let mut running = probe("console").option("--detach").option("--name=web").on_terminal();
    assert_eq!(running.wait(), End::Status(0));
    running.expect("web\r\n");
    running.assert_terminal_restored();
    // The guest runs, and has the console that would otherwise be on the terminal.
    assert!(running.lguest(&["list"]).well().contains("web "));
    assert_eq!(left_alone(&running), 1);
    let mut user = console(running.runtime(), &["web"]);
    user.expect("hello");
    user.send("some words");
    user.expect("some words");
    user.press(ESCAPE);
    assert_eq!(user.wait(), End::Status(0));
    running.lguest(&["stop", "web"]).well();
    // The command returns when the launcher and its directory are gone.
    assert_eq!((left_alone(&running), running.directories().len()), (0, 0));
}

/// `name=$(lguest --detach ...)` would wait for an open descriptor.
#[test]
fn a_detached_launcher_holds_no_descriptor_of_its_starter() {
    let mut running = probe("console").option("--detach").option("--console=stdio").piped();
    assert_eq!(running.wait(), End::Status(0));
    assert_eq!(running.stderr(), "");
    until("stdout is closed", || running.output().has_ended().then_some(()));
    let name = running.text();
    let name = name.strip_suffix('\n').unwrap();
    let launcher = running.family().pop().unwrap();
    assert_eq!(name, format!("guest-{}", launcher.0));
    for number in 0..3 {
        let file = fs::read_link(launcher.file(&format!("fd/{number}"))).unwrap();
        assert_eq!(file.to_str(), Some("/dev/null"));
    }
    // The launcher has a session of its own.
    assert_ne!(
        nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(launcher.0))),
        nix::unistd::getsid(None)
    );
    running.lguest(&["kill", name]).well();
    running.assert_nothing_left();
}

#[test]
fn a_detached_launcher_keeps_logging_to_a_stderr_that_is_a_file() {
    let scratch = Scratch::new();
    let words = scratch.path().join("words");
    let line = probe("console").option("--detach").option("--name=web").shell_line();
    let line = format!("{line} 2> {}", words.display());
    let mut running = tests::program(&["sh", "-c", &line], scratch.path(), tests::Pty::new(24, 80));
    assert_eq!(running.wait(), End::Status(0));
    running.lguest(&["stop", "web"]).well();
    running.assert_nothing_left();
    assert_eq!(fs::read_to_string(&words).unwrap(), "lguest: stopped by `lguest stop`\n");
}

#[track_caller]
fn fails_to_detach(launch: &Launch, words: &str) {
    let mut running = launch.clone().option("--detach").on_terminal();
    assert_eq!(running.wait(), End::Status(1));
    assert!(running.stderr().contains(words), "{}", running.stderr());
    assert_eq!(running.text(), "");
    running.assert_terminal_restored();
    running.assert_nothing_left();
}

#[test]
fn an_error_before_the_guest_runs_is_reported_by_the_command() {
    fails_to_detach(&probe("console").option("--block=/nowhere"), "/nowhere");
    // The runtime directory is a file, so no directory can be created below it.
    let scratch = Scratch::new();
    let nowhere = scratch.file("no-directory", "");
    let launch = probe("console").option("--name=web").runtime(Some(&nowhere));
    fails_to_detach(&launch, "no-directory");
    let file = Scratch::new();
    let kernel = file.file("kernel", "no kernel");
    let mut running = Launch::kernel(kernel)
        .option("--detach")
        .wired(Stdio::null(), File::create(file.path().join("out")).unwrap());
    assert_eq!(running.wait(), End::Status(1));
    assert_eq!(running.stderr().lines().count(), 1, "{}", running.stderr());
    running.assert_nothing_left();
}

/// Some services and scripts ignore SIGCHLD. The kernel then keeps no status of a child.
#[test]
fn a_starter_that_ignores_sigchld_gets_the_status() {
    let scratch = Scratch::new();
    let line = probe("console").option("--detach").option("--block=/nowhere").shell_line();
    let line = format!("exec env --ignore-signal=CHLD {line}");
    let mut running = tests::program(&["sh", "-c", &line], scratch.path(), tests::Pty::new(24, 80));
    assert_eq!(running.wait(), End::Status(1));
    let said = running.stderr();
    assert!(said.contains("/nowhere") && said.lines().count() == 1, "{said}");
}

#[test]
fn console_wait_waits_for_a_guest_to_start() {
    let scratch = Scratch::new();
    let mut user = console(scratch.path(), &["web", "--wait"]);
    until("the client waits for the guest", || waits(&user).then_some(()));
    let other =
        probe("console").option("--detach").option("--name=other").runtime(Some(scratch.path()));
    let mut other = other.piped();
    assert_eq!(other.wait(), End::Status(0));
    let guest =
        probe("console").option("--detach").option("--name=web").runtime(Some(scratch.path()));
    let mut guest = guest.piped();
    assert_eq!(guest.wait(), End::Status(0));
    user.expect("hello");
    user.send("some words");
    user.expect("some words");
    user.press(ESCAPE);
    assert_eq!(user.wait(), End::Status(0));
    user.assert_terminal_restored();

    // The client does not make the terminal raw before the guest starts.
    let mut user = console(scratch.path(), &["later", "-w"]);
    until("the client waits for the guest", || waits(&user).then_some(()));
    user.press(0x03);
    assert_eq!(user.wait(), End::Killed(2));
    user.assert_terminal_restored();
}

#[test]
fn console_persist_waits_for_the_next_guest() {
    let scratch = Scratch::new();
    let launch =
        probe("console").option("--detach").option("--name=web").runtime(Some(scratch.path()));
    let start = || {
        let mut guest = launch.piped();
        assert_eq!(guest.wait(), End::Status(0));
        guest
    };
    let first = start();
    let mut user = console(scratch.path(), &["web", "--persist"]);
    user.expect("hello");
    user.send(b"\x1ep".as_slice());
    user.expect_stderr("guest powered off; waiting for the next guest of that name");
    until("the first launcher has ended", || (left_alone(&first) == 0).then_some(()));
    let second = start();
    user.expect("hello");
    user.send("to the second");
    user.expect("to the second");
    for process in second.family() {
        process.signal(Signal::SIGKILL);
    }
    user.expect_stderr("the guest's launcher has ended; waiting for the next guest of that name");
    // The kernel closes the files of a killed process one after the other.
    until("the name is free", || {
        (!tests::lguest(scratch.path(), &["list"]).well().contains("web")).then_some(())
    });
    let _third = start();
    user.expect("hello");
    user.pty().resize(41, 133);
    user.send(b"\x1ew".as_slice());
    user.expect("133x41");
    user.press(ESCAPE);
    assert_eq!(user.wait(), End::Status(0));
    user.assert_terminal_restored();

    // The escape key also works while the client waits.
    until("the console has no client that types", || {
        let info = tests::lguest(scratch.path(), &["info", "web", "--json"]);
        (!info.well().contains("writer")).then_some(())
    });
    let mut user = console(scratch.path(), &["web", "--persist"]);
    user.expect_stderr("attached");
    user.send(b"\x1ep".as_slice());
    user.expect_stderr("waiting for the next");
    user.press(ESCAPE);
    assert_eq!(user.wait(), End::Status(0));
    user.assert_terminal_restored();
}
