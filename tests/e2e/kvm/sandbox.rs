//! What the kernel refuses a launcher, as /proc tells it of each thread and of the terminal's
//! guard: in every launch, of any user.

use std::fs;

use tests::{End, Process, Running, patience, within};

use super::privilege::is_root;
use super::probe;

/// No program grants privilege any more, and there is a filter of system calls (2).
const CLOSED: [&str; 2] = ["NoNewPrivs: 1", "Seccomp: 2"];

/// These lines of /proc/PID/status, of all threads.
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

/// The guard takes its moment, beside the launcher.
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
    // The threads of the next guest, too.
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
