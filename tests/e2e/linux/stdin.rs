//! Whatever stdin is, the guest gets all of it, and the end of stdin does not end the guest.

use std::fs::File;
use std::process::Stdio;

use tests::files::Scratch;
use tests::{End, Launch, Running};

/// Asserts that a guest which needs no input does its job.
fn does_its_job(mut running: Running) {
    running.expect("STARTED");
    // The guest continues after the end of its stdin.
    running.expect("DONE");
    let ticks = running.process().thread("stdin").map_or(0, |thread| thread.ticks());
    assert!(ticks <= 2, "the stdin thread used {ticks} ticks for nothing");
    assert_eq!(running.wait(), End::Status(0));
    assert_eq!(running.stderr(), "");
}

fn job(scratch: &Scratch) -> Launch {
    Launch::job("echo STARTED; sleep 3; echo DONE; sleep 1", scratch)
}

#[test]
fn stdin_is_dev_null() {
    let scratch = Scratch::new();
    does_its_job(job(&scratch).wired(Stdio::null(), Stdio::piped()));
}

#[test]
fn stdin_is_closed() {
    let scratch = Scratch::new();
    does_its_job(job(&scratch).closed(0).wired(Stdio::null(), Stdio::piped()));
}

#[test]
fn stdin_is_an_empty_pipe() {
    let scratch = Scratch::new();
    does_its_job(job(&scratch).piped());
}

#[test]
fn stdin_is_a_file() {
    let scratch = Scratch::new();
    let script = scratch.file("script", "echo OK-$((6*7))\npoweroff -f\n");
    let mut running = Launch::linux().wired(File::open(script).unwrap(), Stdio::piped());
    running.expect("OK-42\r\n");
    assert_eq!(running.wait(), End::Status(0));
}

/// In a pipe ^C is a byte like any other, however often it comes, also while the guest boots.
#[test]
fn ctrl_c_in_a_pipe_is_input() {
    let mut running = Launch::linux().piped();
    for _ in 0..3 {
        running.press(3);
    }
    running.send("\necho OK-$((6*7)); poweroff -f\n");
    running.expect("OK-42\r\n");
    assert_eq!(running.wait(), End::Status(0));
}

/// 100 KiB of commands that are available from the start, for a program that reads the console in
/// raw mode. (With a shell that edits its lines, the guest's terminal drops what exceeds the 4095
/// bytes of its line buffer, as on any Linux terminal.)
#[test]
fn a_long_script_arrives_complete() {
    let count = 5000;
    let lines = "sum=$((sum+1)); : one more\n".repeat(count);
    let bytes = lines.len();
    assert!(bytes > 100 << 10);
    let scratch = Scratch::new();
    let read = format!("stty raw -echo; head -c {bytes} > /tmp/script; stty sane");
    let job = format!("{read}; . /tmp/script; echo SUM-$sum");
    let mut running = Launch::job(&job, &scratch).fed(lines);
    running.expect(&format!("SUM-{count}\r\n"));
    assert_eq!(running.wait(), End::Status(0));
}
