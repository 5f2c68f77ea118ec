//! The control socket and the commands that use it: what each does to a guest, seen from outside.

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Running, until};

use super::probe;

mod clients;
mod pause;

/// Launches the probe's console with a name.
fn named() -> tests::Launch {
    probe("console").option("--name=one")
}

fn hello(running: &mut Running) {
    running.expect("hello 100x30");
}

fn json(running: &Running, words: &[&str]) -> serde_json::Value {
    serde_json::from_str(&running.lguest(words).well()).unwrap()
}

fn state(running: &Running) -> String {
    json(running, &["info", "one", "--json"])["state"].as_str().unwrap().to_string()
}

#[test]
fn guests_are_listed_while_they_run() {
    let mut running = named().option("--cpus=2").on_terminal();
    hello(&mut running);
    let pid = running.process().0;
    let listed = running.lguest(&["list"]).well();
    let lines: Vec<Vec<_>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "PID", "STATE", "CPUS", "MEMORY", "UPTIME"]);
    assert_eq!(lines[1][..5], ["one", &pid.to_string(), "running", "2", "64M"]);
    assert_eq!(lines.len(), 2);
    let listed = json(&running, &["list", "--json"]);
    assert_eq!(
        (listed[0]["name"].as_str(), listed[0]["pid"].as_i64()),
        (Some("one"), Some(pid.into()))
    );

    let line = running.lguest(&["info", "two"]).one_line();
    assert_eq!(line, "lguest: no guest two: there are one\n");
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    assert_eq!(running.lguest(&["list"]).well().lines().count(), 1);
    assert_eq!(json(&running, &["list", "--json"]), serde_json::json!([]));
}

#[test]
fn a_guest_without_a_name_is_named_after_its_pid() {
    let mut running = probe("console").on_terminal();
    hello(&mut running);
    let name = format!("guest-{}", running.process().0);
    assert!(running.lguest(&["list"]).well().contains(&name));
    running.lguest(&["stop", &name]).well();
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn info_lists_what_the_guest_has() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", [0; 4096]);
    let launch = named().option("--rng").option(&format!("--block={},ro", disk.display()));
    let mut running = launch.argument("a-word").on_terminal();
    hello(&mut running);
    let info = json(&running, &["info", "one", "--json"]);
    assert_eq!(info["memory"], 64 << 20);
    assert_eq!((&info["cpus"], &info["pid"]), (&1.into(), &running.process().0.into()));
    assert_eq!(info["kernel"], tests::environment::probe().to_str().unwrap());
    let line = info["command_line"].as_str().unwrap();
    assert!(line.starts_with("console=hvc0 ") && line.ends_with(" mode=console a-word"), "{line}");
    assert!(info["uptime"].is_u64() && info["version"].is_string(), "{info}");
    let devices = serde_json::json!([
        { "name": "con0", "kind": "console" },
        { "name": "blk0", "kind": "block", "path": disk.to_str(), "read_only": true, "cow": false },
        { "name": "rng0", "kind": "rng", "path": "/dev/urandom" },
    ]);
    assert_eq!(info["devices"], devices);
    let consoles = serde_json::json!([{
        "index": 0, "name": "hvc0", "backend": "stdio", "clients": 0,
        "unread": 0, "dropped": 0, "rows": 30, "columns": 100,
    }]);
    assert_eq!(info["consoles"], consoles);

    let text = running.lguest(&["info", "one"]).well();
    for part in ["name:         one\n", "blk0:", disk.to_str().unwrap(), "(read-only)", line] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn stop_ends_like_sigterm_and_kill_does_not_wait() {
    let ways = [("stop", 0, "stopped by `lguest stop`"), ("kill", 137, "killed by `lguest kill`")];
    for (verb, status, words) in ways {
        for mode in ["console", "hang=spin", "hang=halt"] {
            let mut running = probe(mode).option("--name=one").on_terminal();
            until("the terminal is raw", || running.pty().snapshot().is_raw().then_some(()));
            assert_eq!(running.lguest(&[verb, "one"]).well(), "");
            assert_eq!(running.wait(), End::Status(status), "{verb} {mode}");
            assert_eq!(running.stderr(), format!("lguest: {words}\n"));
            running.assert_terminal_restored();
            running.assert_nothing_left();
        }
    }
}

/// This guest does not handle the power button.
#[test]
fn a_guest_that_does_not_switch_itself_off_in_time_is_stopped() {
    for paused in [false, true] {
        let mut running = named().on_terminal();
        hello(&mut running);
        if paused {
            running.lguest(&["pause", "one"]).well();
        }
        running.lguest(&["stop", "one", "--grace", "300ms"]).well();
        assert_eq!(running.wait(), End::Status(0));
        let words = ["power button pressed by", "stopped by"];
        let words = words.map(|words| format!("lguest: {words} `lguest stop`\n")).concat();
        assert_eq!(running.stderr(), words);
        running.assert_nothing_left();
    }
}

#[test]
fn reset_restarts_the_guest_like_its_own_reset() {
    let mut running = named().on_terminal();
    hello(&mut running);
    let (process, started) = (running.process(), running.process().start_time());
    for _ in 0..3 {
        running.lguest(&["reset", "one"]).well();
        hello(&mut running);
        // The guest resets itself, and keeps its name.
        running.send([0x1e, b'r']);
        hello(&mut running);
        assert_eq!(state(&running), "running");
    }
    assert_eq!(process.start_time(), started);
    assert_eq!(running.directories().len(), 1);

    let mut running = named().option("--no-reboot").on_terminal();
    hello(&mut running);
    running.lguest(&["reset", "one"]).well();
    assert_eq!(running.wait(), End::Status(0));
    let words = "lguest: guest reset by `lguest reset`; not started again\n";
    assert_eq!(running.stderr(), words);
    running.assert_nothing_left();
}

#[test]
fn a_launcher_that_does_not_answer_is_listed_as_such() {
    let mut running = named().piped();
    running.expect("hello 80x24\n");
    running.process().signal(Signal::SIGSTOP);
    until("the launcher is stopped", || running.process().is_stopped().then_some(()));
    let listed = running.lguest(&["list"]).well();
    let (pid, line) = (running.process().0.to_string(), listed.lines().nth(1).unwrap());
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["one", &pid, "silent", "-", "-", "-"]);
    running.process().signal(Signal::SIGCONT);
    assert_eq!(state(&running), "running");
}
