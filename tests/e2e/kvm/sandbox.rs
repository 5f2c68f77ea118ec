//! What the kernel refuses to every launcher, whichever user starts it: as /proc shows it for each
//! thread and for the terminal's guard.

use std::fs;

use tests::{End, Process, Running, patience, within};

use super::privilege::is_root;
use super::probe;

/// no_new_privs is set, and there is a seccomp filter (2).
const CLOSED: [&str; 2] = ["NoNewPrivs: 1", "Seccomp: 2"];

/// Returns these lines of /proc/PID/status for all threads.
fn closed(process: Process) -> Vec<[String; 2]> {
    let threads = fs::read_dir(process.file("task")).unwrap();
    let status = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status")).ok();
    let threads = threads.filter_map(|thread| status(thread.ok()?));
    threads
        .map(|status| {
            CLOSED.map(|wanted| {
                let name = wanted.split(':').next().unwrap();
                let mut lines = status.lines().map(|line| line.replace('\t', " "));
                lines.find(|line| line.split(':').next() == Some(name)).unwrap_or_default()
            })
        })
        .collect()
}

/// Waits until all processes are restricted. The guard process may need a moment.
#[track_caller]
fn assert_closed(running: &Running) {
    let family = running.family();
    assert_eq!(family.len(), 2, "the launcher and its guard");
    for process in family {
        let all = || closed(process).iter().all(|it| *it == CLOSED);
        let _ = within(patience(), || all().then_some(()));
        assert!(all(), "{:?} of {:?}", closed(process), process.threads());
    }
}

#[track_caller]
fn power_off(running: &mut Running) {
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    running.assert_terminal_restored();
}

#[test]
fn no_launcher_can_type_into_its_terminal() {
    let launch = probe("console").option("--rng");
    let mut running = launch.on_terminal();
    running.expect("hello 100x30");
    assert_closed(&running);
    // The threads of the next guest are restricted as well.
    running.send([0x1e, b'r']);
    running.expect("hello 100x30");
    assert_closed(&running);
    power_off(&mut running);
    assert_eq!(running.stderr(), "");
    if !is_root() {
        return;
    }
    let mut running = launch.option("--username=nobody").on_terminal();
    running.expect("hello 100x30");
    assert_closed(&running);
    power_off(&mut running);
}
