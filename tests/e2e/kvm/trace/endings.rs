//! However the guest or the launcher ends, the trace is valid JSON and has all earlier events.

use std::fs;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Running, is_root, until};

use super::super::probe;
use super::{by_thread, hello, read, traced};

#[test]
fn the_trace_is_valid_json_however_the_guest_ends() {
    type Way = (&'static str, fn(&mut Running), End);
    let ways: [Way; 7] = [
        ("power off", |running| running.send([0x1e, b'p']), End::Status(0)),
        ("a status", |running| running.send([0x1e, b's']), End::Status(42)),
        ("three ^C", Running::press_three_ctrl_c, End::Status(130)),
        ("stop", |running| drop(running.lguest(&["stop", "one"]).well()), End::Status(0)),
        ("kill", |running| drop(running.lguest(&["kill", "one"]).well()), End::Status(137)),
        ("SIGTERM", |running| running.process().signal(Signal::SIGTERM), End::Status(143)),
        ("SIGHUP", |running| running.process().signal(Signal::SIGHUP), End::Status(129)),
    ];
    for (name, act, end) in ways {
        let scratch = Scratch::new();
        let (launch, file) = traced(&probe("console").option("--name=one"), &scratch);
        let mut running = launch.on_terminal();
        hello(&mut running);
        act(&mut running);
        assert_eq!(running.wait(), end, "{name}");
        let threads = by_thread(&read(&file));
        let (_, last) = threads.values().find(|(thread, _)| thread == "con0-tx").unwrap();
        assert!(last.iter().any(|event| event["name"] == "request"), "{name}: {last:?}");
        running.assert_terminal_restored();
        running.assert_nothing_left();
    }
}

#[test]
fn the_trace_is_valid_json_after_a_crash_or_a_panic() {
    for (mode, status) in [("crash=triple", 102), ("panic", 101)] {
        let scratch = Scratch::new();
        let (launch, file) = traced(&probe(mode), &scratch);
        assert_eq!(launch.piped().wait(), End::Status(status), "{mode}");
        let threads = by_thread(&read(&file));
        assert!(threads.values().any(|(name, events)| name == "vcpu0" && !events.is_empty()));
    }
}

/// The last event is the one that ended the guest.
#[test]
fn the_trace_includes_the_last_event() {
    for _ in 0..10 {
        let scratch = Scratch::new();
        let (launch, file) = traced(&probe("status=7"), &scratch);
        assert_eq!(launch.piped().wait(), End::Status(7));
        let threads = by_thread(&read(&file));
        let (_, events) = threads.values().find(|(thread, _)| thread == "vcpu0").unwrap();
        assert!(events.iter().any(|event| event["args"]["port"] == "0x501"), "{:?}", events.last());
    }
}

/// New events are in the file soon, also while the guest runs.
#[test]
fn the_trace_can_be_read_while_the_guest_runs_and_after_sigkill() {
    let scratch = Scratch::new();
    let (launch, file) = traced(&probe("console"), &scratch);
    let mut running = launch.on_terminal();
    hello(&mut running);
    let has_hello = || {
        let threads = by_thread(&read(&file));
        let mut printed = threads.values().filter(|(name, _)| name == "con0-tx");
        printed.any(|(_, events)| events.iter().any(|it| it["name"] == "request")).then_some(())
    };
    until("the output is in the trace", has_hello);
    running.send(b"\x1ef 2000\n");
    running.process().signal(Signal::SIGKILL);
    assert_eq!(running.wait(), End::Killed(9));
    has_hello().unwrap();
}

/// The host's disk is full: the guest continues, and the user gets a message.
#[test]
fn a_full_disk_ends_the_trace_and_not_the_guest() {
    if !is_root("mounting a file system") {
        return;
    }
    let scratch = Scratch::new();
    // The namespace is that of this thread and of the launcher that it starts.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("tmpfs"), scratch.path(), Some("tmpfs"), MsFlags::empty(), Some("size=16k"))
        .unwrap();
    let (launch, file) = traced(&probe("console").option("--name=one"), &scratch);
    let mut running = launch.on_terminal();
    hello(&mut running);
    let full = "No space left on device: it ends here\n";
    running.expect_stderr(full);
    running.send("still here");
    running.expect("still here");
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    let said = running.stderr();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[1].ends_with(" events came after its end"), "{said}");
    // Everything in the file is complete.
    assert!(!read(&file).is_empty());
    assert!(fs::metadata(&file).unwrap().len() <= 16 << 10);
}
