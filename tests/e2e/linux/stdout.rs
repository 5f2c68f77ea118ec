//! Whatever happens to stdout, the guest does its job and determines the status.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use tests::files::{self, Scratch};
use tests::{End, Launch, Thread, until};

/// More than any buffer holds.
const LENGTH: usize = 3 << 20;

/// Launches a guest that prints much, and then powers off.
fn printing(scratch: &Scratch) -> Launch {
    let text = format!("yes 0123456789abcde | head -c {LENGTH} > /tmp/text");
    Launch::job(&format!("{text}; stty raw; cat /tmp/text"), scratch)
}

fn pipe_of_two() -> (File, OwnedFd) {
    // The launcher inherits neither end: the reader that leaves must have been the only one.
    let (read, write) = io::pipe().unwrap();
    (OwnedFd::from(read).into(), write.into())
}

#[test]
fn a_reader_that_leaves_does_not_end_the_guest() {
    let scratch = Scratch::new();
    let (mut reader, stdout) = pipe_of_two();
    let mut running = printing(&scratch).wired(Stdio::null(), stdout);
    // `| head -1` does this.
    reader.read_exact(&mut [0; 16]).unwrap();
    drop(reader);
    assert_eq!(running.wait(), End::Status(0));
    let said = running.stderr();
    assert!(said.contains("Broken pipe") && said.lines().count() == 1, "{said}");
}

#[test]
fn a_sleeping_reader_does_not_block_the_guest() {
    let scratch = Scratch::new();
    let (reader, stdout) = pipe_of_two();
    let mut running = printing(&scratch).wired(Stdio::null(), stdout);
    let process = running.process();
    until("the guest runs", || process.thread("con0-tx"));
    until("the guest ends", || process.thread("vcpu0").is_none().then_some(()));
    drop(reader);
    assert_eq!(running.wait(), End::Status(0));
    assert!(running.stderr().contains("lost"), "{}", running.stderr());
}

#[test]
fn a_slow_reader_loses_nothing() {
    let scratch = Scratch::new();
    let (mut reader, stdout) = pipe_of_two();
    let mut running = printing(&scratch).wired(Stdio::null(), stdout);
    let process = running.process();
    let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 17]);
    loop {
        // Each read waits until the pipe is full or everything is written for now.
        until("the writer sleeps", || {
            process.thread("stdout").is_none_or(Thread::sleeps).then_some(())
        });
        let length = reader.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        all.extend_from_slice(&buffer[..length]);
    }
    assert_eq!(running.wait(), End::Status(0));
    let wanted = b"0123456789abcde\n".repeat(LENGTH / 16);
    let start = all.len() - LENGTH;
    assert!(all[start..] == wanted, "{} bytes came, which differ from the output", all.len());
}

#[test]
fn a_full_disk_does_not_end_the_guest() {
    let scratch = Scratch::new();
    let mut running = printing(&scratch).wired(Stdio::null(), files::full());
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn a_closed_stdout_does_not_end_the_guest() {
    let scratch = Scratch::new();
    let mut running = printing(&scratch).closed(1).wired(Stdio::null(), Stdio::null());
    assert_eq!(running.wait(), End::Status(0));
}
