use std::io::Read;
use std::thread::Builder;

use host::testing::{in_time, is_asleep, until};
use lguest_init::frame::Parser;

use super::*;
use crate::config::console::{Backend, ConsoleConfig};
use crate::console::GuestConsole;

/// A console for a command, and its connection to the init.
fn console() -> (Arc<InitLink>, Arc<GuestConsole>) {
    let backend = Backend::Exec { tty: true };
    let configs = [ConsoleConfig { backend, ..ConsoleConfig::default() }];
    let (console, _end) = crate::console::open_all(&configs).unwrap().remove(0);
    (Arc::default(), console)
}

/// The frames that the guest reads, as soon as there are some.
fn heard(console: &GuestConsole) -> Vec<ToGuest> {
    let mut bytes = vec![0; 1 << 18];
    let mut guest_end = console.input.guest_end().unwrap();
    let bytes = in_time("the guest reads", move || {
        let count = guest_end.read(&mut bytes).unwrap();
        bytes.truncate(count);
        bytes
    });
    let (mut parser, mut frames) = (Parser::default(), Vec::new());
    parser.push(&bytes, |frame| frames.push(frame)).unwrap();
    frames
}

fn input(frames: &[ToGuest]) -> usize {
    let length = |frame: &ToGuest| match frame {
        ToGuest::Stdin(bytes) => bytes.len(),
        other => panic!("{other:?}"),
    };
    frames.iter().map(length).sum()
}

#[test]
fn nothing_is_said_before_the_init_is_ready() {
    let (link, console) = console();
    let mut stdin = CommandStdin::new(&link, &console.input);
    let typing = Builder::new().spawn(move || stdin.hand_on(b"early").map(|()| stdin.end()));
    assert!(link.resize(&console.input, 100, 30));
    assert_eq!(console.input.unread().unwrap(), b"");
    link.open(&console.input);
    typing.unwrap().join().unwrap().unwrap();
    let said = [
        ToGuest::Window { columns: 100, rows: 30 },
        ToGuest::Stdin(b"early".to_vec()),
        ToGuest::StdinEnd,
    ];
    assert_eq!(heard(&console), said);
}

#[test]
fn no_more_input_is_sent_than_is_taken() {
    let (link, console) = console();
    link.open(&console.input);
    let mut stdin = CommandStdin::new(&link, &console.input);
    let window = usize::try_from(INPUT_WINDOW).unwrap();
    let typing = Builder::new().spawn(move || stdin.hand_on(&vec![7; window + 100]));
    let typing = typing.unwrap();
    // The window is sent, and no more, however long the test waits.
    let mut sent = 0;
    while sent < window {
        sent += input(&heard(&console));
    }
    assert_eq!(sent, window);
    assert_eq!(console.input.unread().unwrap(), b"");
    assert!(!typing.is_finished());
    link.taken(100);
    typing.join().unwrap().unwrap();
    assert_eq!(input(&heard(&console)), 100);
    // The credit of a guest that reports more than it got does not grow beyond the window.
    link.taken(u32::MAX);
    assert_eq!(link.lock().credit, INPUT_WINDOW);
}

#[test]
fn each_frame_fits_into_a_pipe_as_a_whole() {
    let (link, console) = console();
    link.open(&console.input);
    CommandStdin::new(&link, &console.input).hand_on(&[7; 10_000]).unwrap();
    let frames = heard(&console);
    assert!(frames.iter().all(|frame| frame.encode().len() <= libc::PIPE_BUF), "too long");
    assert_eq!(input(&frames), 10_000);
}

#[test]
fn typing_does_not_wait_for_a_command_that_does_not_read() {
    let (link, console) = console();
    link.open(&console.input);
    let mut stdin = CommandStdin::new(&link, &console.input);
    let stdin = in_time("it gives up", move || {
        (0..1000).for_each(|_| stdin.type_in(&[7; 4096]));
        stdin
    });
    assert!(!stdin.reads);
}

/// A thread waits for the guest, which then ends.
#[track_caller]
fn leaves_at_the_end(link: &InitLink, name: &'static str, wait: impl FnOnce() + Send + 'static) {
    let waiting = Builder::new().name(name.into()).spawn(wait).unwrap();
    until("it waits", || is_asleep(name));
    link.end();
    in_time("it leaves", move || waiting.join().unwrap());
}

#[test]
fn no_thread_waits_for_a_guest_that_has_ended() {
    // Without an init, the end of stdin has no receiver.
    let (link, console) = console();
    let mut stdin = CommandStdin::new(&link, &console.input);
    leaves_at_the_end(&link, "link-end", move || stdin.end());
    let mut stdin = CommandStdin::new(&link, &console.input);
    in_time("nothing is sent", move || assert!(stdin.hand_on(b"x").is_err()));
    assert_eq!(console.input.unread().unwrap(), b"");

    let (link, console) = self::console();
    let mut stdin = CommandStdin::new(&link, &console.input);
    leaves_at_the_end(&link, "link-early", move || assert!(stdin.hand_on(b"x").is_err()));
}

/// The guest reports bytes as read that it has not read: the pipe is full then, whatever the window
/// says.
#[test]
fn a_guest_that_grants_more_than_it_reads_holds_up_nobody_for_ever() {
    let (link, console) = console();
    link.open(&console.input);
    let mut stdin = CommandStdin::new(&link, &console.input);
    let (granting, sending) = (Arc::clone(&link), Arc::clone(&console));
    let typing = Builder::new().name("link-full".into()).spawn(move || {
        let frame = [7; MOST_TO_GUEST - HEADER];
        while stdin.hand_on(&frame).is_ok() {
            granting.taken(u32::MAX);
        }
    });
    let frame = ToGuest::Stdin(vec![0; MOST_TO_GUEST - HEADER]).encode();
    until("there is no room", || sending.input.send(&frame).unwrap() == 0);
    until("it waits", || is_asleep("link-full"));
    // The main thread does not wait either: it has to send the window's size again.
    assert!(!link.resize(&console.input, 1, 1));
    link.end();
    in_time("it leaves", move || typing.unwrap().join().unwrap());
}
