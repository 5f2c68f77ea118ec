//! Input of all kinds, with guests that read and guests that do not.

use std::io::Write;
use std::process::{ChildStdout, Stdio};
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;
use crate::testing::{Pty, Running, fake, in_time, is_full, until};

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

/// Press until the launcher ends: a slow machine may take over a second for three.
fn press_until_it_ends(pty: &mut Pty, launcher: &mut Running) {
    until("three ^C end it", || {
        pty.press(3, launcher);
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
    // A guest that is about to end need not print the last one.
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

#[test]
fn ctrl_c_in_a_pipe_is_data() {
    let (mut launcher, mut pipe) = piped();
    let mut stdout = launcher.0.stdout.take().unwrap();
    let read = |stdout: &mut ChildStdout, length| {
        let mut bytes = vec![0; length];
        stdout.read_exact(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(read(&mut stdout, 7), b"ready\r\n");
    for _ in 0..4 {
        // Type the next one when the guest has this one: each is alone in its read.
        pipe.write_all(&[3]).unwrap();
        assert_eq!(read(&mut stdout, 1), [3]);
    }
    pipe.write_all(b"<off>").unwrap();
    assert_eq!(launcher.status(), 0);
    assert_eq!(read(&mut stdout, 5), b"<off>");
}

#[test]
fn the_end_of_a_pipe_is_not_the_end_of_the_guest() {
    let (mut launcher, pipe) = piped();
    drop(pipe);
    until("the thread has ended", || !launcher.threads().contains(&"stdin".to_string()));
    // No thread spins on the closed pipe.
    launcher.until_it_rests();
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
    // The thread has read nothing, and waits.
    until("it waits", || launcher.sleeps("stdin"));
    pipe.write_all(b"<off>").unwrap();
    assert_eq!(launcher.status(), 0);
    let flags = OFlag::from_bits_retain(fcntl(&shared, FcntlArg::F_GETFL).unwrap());
    assert!(flags.contains(OFlag::O_NONBLOCK));
}

/// Input from a pipe, in this process.
fn reading() -> (Arc<InputPipe>, File) {
    let (stdin, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let (input, exit) =
        (Arc::new(InputPipe::new().unwrap()), Arc::new(Exit::<Interruption>::new().unwrap()));
    read(File::from(stdin), keys::GuestPipe::new(&input, false).unwrap(), &exit, None).unwrap();
    (input, File::from(ours))
}

fn read_exactly(mut guest: File, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    guest.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn unread_input_waits_and_no_byte_is_lost() {
    let (input, mut pipe) = reading();
    let bytes: Vec<u8> = (0..3_u32 << 20).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let written = bytes.clone();
    let (stdin, to_guest) = (pipe.try_clone().unwrap(), input.our_end().unwrap());
    let writing = thread::Builder::new().spawn(move || pipe.write_all(&written).unwrap()).unwrap();
    // The guest reads nothing, so that its pipe stays full, and then stdin does.
    until("the guest's pipe is full", || is_full(&to_guest));
    until("stdin is full", || is_full(&stdin));
    assert!(!writing.is_finished(), "the queue is not bounded");
    assert!(read_exactly(input.guest_end().unwrap(), bytes.len()) == bytes);
    writing.join().unwrap();
}

#[test]
fn the_next_guest_gets_the_unread_input() {
    let (input, mut pipe) = reading();
    pipe.write_all(b"first second").unwrap();
    assert_eq!(read_exactly(input.guest_end().unwrap(), 6), b"first ");
    assert_eq!(read_exactly(input.guest_end().unwrap(), 6), b"second");
}
