//! A launcher that may not have as many files as it needs: it says so, in one
//! line, and leaves nothing behind.

use std::fs;

use tests::files::Scratch;
use tests::{End, Launch, Network, Pty, Running, program};

use super::probe;

/// More than a launcher with these devices needs.
const PLENTY: u32 = 200;

/// Start it in a shell that has set this limit.
fn limited(launch: &Launch, files: u32, scratch: &Scratch) -> Running {
    let line = format!("ulimit -n {files}; exec {}", launch.shell_line());
    program(&["sh", "-c", &line], scratch.path(), Pty::new(30, 100))
}

#[test]
fn with_too_few_files_it_ends_in_one_line() {
    let (network, scratch) = (Network::new(), Scratch::new());
    let disk = scratch.file("disk", [0; 4096]);
    // It has its console used, and reset: also what the devices open is opened.
    let mut launch =
        probe("resets=2").option("--rng").option(&format!("--block={}", disk.display()));
    if network.is_some() {
        launch = launch.option("--tunnet=192.168.77.1");
    }
    let mut enough = None;
    // The shell has three, and wants more for itself.
    for files in 12..PLENTY {
        let mut running = limited(&launch, files, &scratch);
        let end = running.wait();
        running.assert_terminal_restored();
        running.assert_nothing_left();
        if end == End::Status(0) {
            enough = Some(files);
            break;
        }
        let said = running.stderr();
        assert_eq!(end, End::Status(1), "{files} files: {said}");
        let lines: Vec<_> = said.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("lguest: "), "{files} files: {said}");
        assert!(lines[0].contains("Too many open files"), "{files} files: {said}");
    }
    let enough = enough.expect("some number of files is enough");
    assert!(enough > 20, "{enough} files would be few: what was limited?");
    assert_eq!(fs::read(&disk).unwrap(), [0; 4096]);
}
