//! Files whose readers are fast, slow, stopped or gone.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::process::Stdio;
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use super::*;
use crate::output::{CAPACITY, Sink};
use crate::testing::{Running, fake, in_time, is_asleep, is_full, until};

impl OutputWriter {
    fn sink(&self) -> Sink {
        self.output.sink()
    }
}

fn writing(pipe: OwnedFd) -> OutputWriter {
    let names = ["stdout".into(), "stdout".into()];
    OutputWriter::start(&OutputRing::new().unwrap(), ReaderRole::Writer, pipe, None, names).unwrap()
}

/// A writer to a pipe, and the other end of the pipe.
fn ring() -> (OutputWriter, File) {
    let (reader, output) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    (writing(output), File::from(reader))
}

fn pattern(length: u32) -> Vec<u8> {
    (0..length).map(|n| n.to_le_bytes()[n as usize % 3]).collect()
}

/// A writer as [`ring`] makes it, but with the pipe full, the writer stuck and the ring full.
fn full_ring() -> (OutputWriter, File) {
    let (reader, output) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(&output, &[b'.'; 4096]).is_ok() {}
    fcntl(&output, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let stdout = writing(output);
    stdout.sink().write_all(b".").unwrap();
    until("the writer is stuck", || stdout.output.behind() == 0);
    stdout.sink().write_all(&[b'.'; CAPACITY]).unwrap();
    (stdout, File::from(reader))
}

#[test]
fn a_slow_reader_loses_nothing() {
    let (stdout, mut reader) = ring();
    let output = pattern(4 << 20);
    let (mut sink, written) = (stdout.sink(), output.clone());
    let writing = thread::Builder::new().spawn(move || sink.write_all(&written).unwrap()).unwrap();
    let read = read_slowly(&mut reader, 4 << 20, || {
        writing.is_finished() || stdout.output.holds_a_sink_up()
    });
    assert!(read == output);
    writing.join().unwrap();
}

/// Read this number of bytes, each part of them when the writer waits for that.
fn read_slowly(reader: &mut File, length: usize, waits: impl Fn() -> bool) -> Vec<u8> {
    let mut read = vec![0; length];
    for part in read.chunks_mut(60_000) {
        until("somebody waits", &waits);
        reader.read_exact(part).unwrap();
    }
    read
}

#[test]
fn room_is_noticed_at_once() {
    let (stdout, mut reader) = full_ring();
    let mut sink = stdout.sink();
    let (rounds, start) = (40, Instant::now());
    let output = vec![b'.'; rounds << 16];
    let writing = thread::Builder::new().spawn(move || sink.write_all(&output).unwrap()).unwrap();
    for _ in 0..rounds {
        until("the ring is full again", || {
            writing.is_finished() || stdout.output.holds_a_sink_up()
        });
        reader.read_exact(&mut vec![0; 1 << 16]).unwrap();
    }
    until("all is written", || writing.is_finished());
    assert!(start.elapsed() < Duration::from_secs(10), "it looked only now and then");
}

#[test]
fn a_non_blocking_stdout_stays_so_and_loses_nothing() {
    let (reader, output) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut reader = File::from(reader);
    let shared = output.try_clone().unwrap();
    let stdout = writing(output);
    let expected = pattern(1 << 20);
    stdout.sink().write_all(&expected).unwrap();
    let all_is_taken = || stdout.output.behind() == 0;
    let read = read_slowly(&mut reader, 1 << 20, || all_is_taken() || is_full(&shared));
    assert!(read == expected);
    let flags = OFlag::from_bits_retain(fcntl(&shared, FcntlArg::F_GETFL).unwrap());
    assert!(flags.contains(OFlag::O_NONBLOCK));
}

#[test]
fn the_guest_does_not_wait_for_an_absent_reader_which_gets_the_newest_bytes() {
    let (stdout, mut reader) = full_ring();
    let mut sink = stdout.sink();
    let writing = thread::Builder::new().spawn(move || sink.write_all(&pattern(2 << 20)).unwrap());
    let writing = writing.unwrap();
    until("after some patience, it is written", || writing.is_finished());
    assert_eq!(stdout.output.lost(), 2 << 20);
    stdout.sink().write_all(b"the newest").unwrap();
    // The writer waits again for a reader that reads again.
    in_time("the newest is read", move || {
        let mut read = Vec::new();
        while !read.ends_with(b"the newest") {
            let mut part = [0; 4096];
            let length = reader.read(&mut part).unwrap();
            read.extend_from_slice(&part[..length]);
        }
    });
    until("what was lost has been told", || stdout.output.lost() == 0);
    assert!(!stdout.output.has_absent_readers());
}

#[test]
fn a_signal_ends_the_wait_for_a_reader() {
    extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    register_signal_handler(SIGRTMIN(), nothing).unwrap();
    let (stdout, _reader) = full_ring();
    let mut sink = stdout.sink();
    let queue = thread::Builder::new().spawn(move || sink.write(b"more").unwrap_err()).unwrap();
    until("the wait has ended", || {
        queue.kill(SIGRTMIN()).unwrap();
        queue.is_finished()
    });
    assert_eq!(queue.join().unwrap().kind(), ErrorKind::Interrupted);
}

#[test]
fn a_lossy_sink_never_waits() {
    let (stdout, _reader) = full_ring();
    stdout.sink().write_lossy(&pattern(3 << 20));
    stdout.sink().write_lossy(b"early message");
    assert!(!stdout.output.has_absent_readers(), "it has waited for one");
    assert_eq!(stdout.output.lost(), (3 << 20) + 13);
    let kept = stdout.output.kept();
    assert_eq!(kept.len(), CAPACITY);
    assert!(kept.ends_with(b"early message"));
}

#[test]
fn the_guest_does_not_wait_for_a_reader_that_went_away() {
    let (stdout, reader) = full_ring();
    let mut sink = stdout.sink();
    let writing = thread::Builder::new().spawn(move || sink.write_all(&pattern(4 << 20)).unwrap());
    until("it is waited for", || stdout.output.holds_a_sink_up());
    drop(reader);
    let writing = writing.unwrap();
    until("all is written", || writing.is_finished());
    assert!(stdout.output.is_left());
}

#[test]
fn the_end_waits_for_the_reader_as_long_as_it_may() {
    let signals = Signals::block().unwrap();
    let (stdout, mut reader) = ring();
    stdout.sink().write_all(&pattern(1 << 20)).unwrap();
    let (stdout, signals) = in_time("a bound ends it", move || {
        assert_eq!(stdout.finish(&signals, Some(Duration::from_millis(50))), None);
        (stdout, signals)
    });
    assert!(!stdout.output.is_left());
    let finish = move || {
        assert_eq!(stdout.finish(&signals, None), None);
        assert!(stdout.output.is_left());
    };
    let finishing = thread::Builder::new().name("finish".into()).spawn(finish).unwrap();
    until("it waits", || is_asleep("finish"));
    assert!(!finishing.is_finished());
    in_time("all is read", move || reader.read_exact(&mut vec![0; 1 << 20]).unwrap());
    in_time("the wait ends", move || finishing.join().unwrap());
}

/// A launcher whose guest prints much, and is then switched off.
fn flooding(stdout: impl Into<Stdio>) -> (Running, File) {
    printing(stdout, "<flood>")
}

/// A launcher whose guest reads these words, and prints them.
fn printing(stdout: impl Into<Stdio>, words: &str) -> (Running, File) {
    let (theirs, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let (mut command, mut input) = (fake(), File::from(ours));
    command.stdin(theirs).stdout(stdout).stderr(Stdio::piped());
    let launcher = Running::start(&mut command);
    input.write_all(words.as_bytes()).unwrap();
    (launcher, input)
}

fn said(launcher: &mut Running) -> String {
    let mut said = String::new();
    launcher.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

#[test]
fn the_first_line_of_a_flood_can_be_read() {
    let (theirs, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let (mut launcher, mut input) = flooding(ours);
    File::from(theirs).read_exact(&mut [0; 10]).unwrap();
    input.write_all(b"<off>").unwrap();
    assert_eq!(launcher.status(), 0);
    assert_eq!(said(&mut launcher).matches("Broken pipe").count(), 1);
}

#[test]
fn a_full_disk_is_reported_once_and_does_not_change_the_status() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (mut launcher, mut input) = flooding(full);
    input.write_all(b"<off>").unwrap();
    assert_eq!(launcher.status(), 0);
    assert_eq!(said(&mut launcher).matches("No space left").count(), 1);
}

#[test]
fn a_signal_ends_the_wait_for_a_reader_at_the_end() {
    let (reader, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    // More than the pipe holds, which nobody reads, and less than the ring.
    // The word is sent twice, because a read may cut one in two.
    let (mut launcher, input) = printing(theirs, &("x".repeat(200_000) + "<off><off>"));
    let mut said = BufReader::new(launcher.0.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "lguest: the guest has ended: PoweredOff\n");
    assert!(launcher.is_running());
    launcher.signal(Signal::SIGINT);
    assert_eq!(launcher.status(), 128 + 2);
    drop((reader, input));
}

#[test]
fn a_whole_flood_can_be_read() {
    let (reader, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let (mut launcher, mut input) = flooding(theirs);
    input.write_all(b"<off>").unwrap();
    let mut printed = String::new();
    let printed = in_time("all is printed", move || {
        File::from(reader).read_to_string(&mut printed).unwrap();
        printed
    });
    assert_eq!(launcher.status(), 0);
    let (_, flood) = printed.split_once("<flood>").unwrap();
    let lines = flood.lines().filter_map(|line| line.parse::<u32>().ok());
    assert!(lines.eq(0..1 << 18), "{} bytes", printed.len());
}
