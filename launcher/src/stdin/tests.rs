//! Input of all kinds, with guests that read and guests that do not.

use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;
use crate::testing::{Pty, Running, fake, in_time, until};

#[test]
fn three_separate_ctrl_c_end_a_guest_that_hangs() {
    let mut pty = Pty::open();
    let mut launcher = pty.start(&mut fake());
    pty.expect("ready, raw");
    pty.type_in("<hang>");
    pty.expect("<hang>");
    press_until_it_ends(&mut pty, &mut launcher);
    assert_eq!(launcher.status(), 130);
}

/// A slow machine may see two keypresses as one: so keep pressing.
fn press_until_it_ends(pty: &mut Pty, launcher: &mut Running) {
    pty.until("three ^C end it", |pty| {
        pty.type_in([3]);
        thread::sleep(Duration::from_millis(150));
        !launcher.is_running()
    });
}

#[test]
fn three_pasted_ctrl_c_go_to_the_guest() {
    let mut pty = Pty::open();
    let mut launcher = pty.start(&mut fake());
    pty.expect("ready, raw");
    for _ in 0..5 {
        pty.type_in([3, 3, 3]);
        pty.expect([3, 3, 3]);
    }
    assert!(launcher.is_running());
}

#[test]
fn every_ctrl_c_reaches_the_guest() {
    let mut pty = Pty::open();
    let mut launcher = pty.start(&mut fake());
    pty.expect("ready, raw");
    for key in [3, 3, b'x', 3, 3] {
        pty.type_in([key]);
        pty.expect([key]);
    }
    assert!(launcher.is_running());
    // Of the last one, a guest that is about to end need not say anything.
    press_until_it_ends(&mut pty, &mut launcher);
}

#[test]
fn a_megabyte_of_paste_passes_unchanged_both_ways() {
    let mut pty = Pty::open();
    let _launcher = pty.start(&mut fake());
    pty.expect("ready, raw\r\n");
    let paste: Vec<u8> = (0..1_u32 << 20).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let (mut user, typed) = (pty.user(), paste.clone());
    let typing = thread::Builder::new().spawn(move || user.write_all(&typed).unwrap()).unwrap();
    pty.until("all of it is printed", |pty| pty.seen.len() >= paste.len());
    assert!(pty.seen == paste);
    typing.join().unwrap();
}

#[test]
fn three_ctrl_c_count_when_the_guest_has_long_stopped_reading() {
    let mut pty = Pty::open();
    let mut launcher = pty.start(&mut fake());
    pty.expect("ready, raw");
    pty.type_in("<hang>");
    pty.expect("<hang>");
    let mut user = pty.user();
    in_time("all of it is typed", move || user.write_all(&[b'x'; 5 << 18]).unwrap());
    pty.expect("does not read its console");
    press_until_it_ends(&mut pty, &mut launcher);
    assert_eq!(launcher.status(), 130);
}

/// A launcher whose stdin is a pipe.
fn piped() -> (Running, File) {
    let (theirs, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let mut command = fake();
    command.stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped());
    (Running::start(&mut command), File::from(ours))
}

fn printed(launcher: &mut Running) -> String {
    let mut printed = String::new();
    launcher.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    printed
}

#[test]
fn ctrl_c_in_a_pipe_is_data() {
    let (mut launcher, mut pipe) = piped();
    for _ in 0..4 {
        pipe.write_all(&[3]).unwrap();
        thread::sleep(Duration::from_millis(50));
    }
    pipe.write_all(b"<off>").unwrap();
    assert_eq!(launcher.status(), 0);
    assert_eq!(printed(&mut launcher), "ready\r\n\x03\x03\x03\x03<off>");
}

#[test]
fn the_end_of_a_pipe_is_not_the_end_of_the_guest() {
    let (mut launcher, pipe) = piped();
    drop(pipe);
    until("the thread has ended", || !launcher.threads().contains(&"stdin".to_string()));
    // Nor does anything spin on it.
    until("it sleeps for most of a second", || {
        let before = launcher.wake_ups();
        thread::sleep(Duration::from_millis(700));
        launcher.wake_ups() == before
    });
    launcher.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(launcher.status(), 128 + 15);
}

#[test]
fn a_non_blocking_stdin_stays_so_and_works() {
    let (theirs, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    fcntl(&theirs, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let shared = theirs.try_clone().unwrap();
    let mut command = fake();
    command.stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut launcher = Running::start(&mut command);
    let mut pipe = File::from(ours);
    thread::sleep(Duration::from_millis(100));
    pipe.write_all(b"<off>").unwrap();
    assert_eq!(launcher.status(), 0);
    let flags = OFlag::from_bits_retain(fcntl(&shared, FcntlArg::F_GETFL).unwrap());
    assert!(flags.contains(OFlag::O_NONBLOCK));
}

/// Input from a pipe, in this process.
fn reading() -> (Input, File) {
    let (stdin, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let (input, exit) = (Input::new().unwrap(), Arc::new(Exit::new().unwrap()));
    read(
        File::from(stdin),
        keys::Guest::new(input.our_end().unwrap(), false).unwrap(),
        &exit,
        None,
    )
    .unwrap();
    (input, File::from(ours))
}

fn read_exactly(mut guest: File, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    guest.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_the_guest_does_not_read_waits_and_none_is_lost() {
    let (input, mut pipe) = reading();
    let bytes: Vec<u8> = (0..3_u32 << 20).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let written = bytes.clone();
    let writing = thread::Builder::new().spawn(move || pipe.write_all(&written).unwrap()).unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(!writing.is_finished(), "the queue is not bounded");
    assert!(read_exactly(input.guest_end().unwrap(), bytes.len()) == bytes);
    writing.join().unwrap();
}

#[test]
fn what_one_guest_left_unread_the_next_one_gets() {
    let (input, mut pipe) = reading();
    pipe.write_all(b"first second").unwrap();
    assert_eq!(read_exactly(input.guest_end().unwrap(), 6), b"first ");
    assert_eq!(read_exactly(input.guest_end().unwrap(), 6), b"second");
}
