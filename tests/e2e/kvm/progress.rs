//! Progress of a slow file is shown on a terminal, and nowhere else.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tests::files::Scratch;
use tests::{End, HangingDisk, Launch, Pty, program, until};

use super::probe;

/// The size of the file. Reading it takes seconds, because every read of up to 128 KiB takes this
/// long.
const SIZE: u64 = 4 << 20;
const PIECE: Duration = Duration::from_millis(60);

/// The sequence that erases the line.
const WIPED: &str = "\r\x1b[K";

/// Launches a guest with an initrd that is slow to read. `None` for a user who cannot mount one.
fn slow(scratch: &Scratch, mode: &str) -> Option<(HangingDisk, Launch)> {
    let directory = scratch.path().join("slow");
    fs::create_dir(&directory).unwrap();
    let disk = HangingDisk::new(&directory, SIZE)?;
    disk.slow_down(PIECE);
    let launch = probe(mode).initrd(disk.path());
    Some((disk, launch))
}

fn shell(line: &str) -> tests::Running {
    program(&["sh", "-c", line], Path::new("/"), Pty::new(24, 80))
}

#[test]
fn progress_of_a_slow_file_is_shown_and_erased_before_the_guest_runs() {
    let scratch = Scratch::new();
    let Some((_disk, launch)) = slow(&scratch, "console") else { return };
    let mut running = shell(&format!("exec {} 2>&1", launch.shell_line()));
    running.expect("lguest: initrd ");
    let shown = running.expect("hello");
    let (lines, rest) = shown.rsplit_once(WIPED).unwrap();
    assert!(lines.contains(" of 4 MiB"), "{shown:?}");
    assert!(!rest.contains("MiB"), "{shown:?}");
    running.press_three_ctrl_c();
    assert_eq!(running.wait(), End::Status(130));
    running.assert_terminal_restored();
}

#[test]
fn progress_is_shown_if_stderr_is_a_terminal() {
    let scratch = Scratch::new();
    let Some((_disk, launch)) = slow(&scratch, "console") else { return };
    let line =
        format!("exec {} 2>&1 > {}", launch.shell_line(), scratch.path().join("out").display());
    let mut running = shell(&line);
    running.expect(" of 4 MiB");
    running.expect(WIPED);
    running.press_three_ctrl_c();
    assert_eq!(running.wait(), End::Status(130));
    assert!(!fs::read_to_string(scratch.path().join("out")).unwrap().contains("MiB"));
}

#[test]
fn no_progress_is_printed_into_a_file() {
    let scratch = Scratch::new();
    let Some((_disk, launch)) = slow(&scratch, "status=42") else { return };
    let mut running = launch.on_terminal();
    assert_eq!(running.wait(), End::Status(42));
    assert_eq!(running.stderr(), "");
    assert!(!running.text().contains("MiB"), "{}", running.text());
}

#[test]
fn no_progress_is_shown_when_the_guest_reboots() {
    let scratch = Scratch::new();
    let Some((disk, launch)) = slow(&scratch, "reset=acpi") else { return };
    let mut running = shell(&format!("exec {} 2>&1", launch.shell_line()));
    running.expect(" of 4 MiB");
    running.expect(WIPED);
    let first = disk.answered();
    // The second boot reads all of the file again.
    until("the disk is read again", || (disk.answered() >= 2 * first).then_some(()));
    running.press_three_ctrl_c();
    let _ = running.wait();
    let all = running.text();
    let (_, rest) = all.split_once(WIPED).unwrap();
    assert!(!rest.contains("MiB"), "{all:?}");
}
