use std::io::Read;
use std::thread::Builder;

use host::stdin::InputSink;
use host::testing::{in_time, is_asleep, until};
use lguest_init::frame::{OUTPUT_WINDOW, Parser};
use lguest_init::order::CommandOrder;

use super::*;
use crate::config::console::{Backend, ConsoleConfig};
use crate::console::GuestConsole;
use crate::exec::stdin::CommandStdin;

/// A console for commands, with its connection to the init and the launch's command.
fn console() -> (Arc<InitLink>, Arc<LinkedCommand>, Arc<GuestConsole>) {
    let backend = Backend::Exec { tty: true };
    let configs = [ConsoleConfig { backend, ..ConsoleConfig::default() }];
    let (console, _end) = crate::console::open_all(&configs).unwrap().remove(0);
    let link = Arc::clone(console.init_link().unwrap());
    let command = Arc::new(link.first_command());
    (link, command, console)
}

/// A console for commands, with a command that runs. The guest has read what started it.
fn started() -> (Arc<InitLink>, Arc<LinkedCommand>, Arc<GuestConsole>) {
    let (link, command, console) = console();
    link.be_ready();
    command.start(&CommandOrder::default());
    heard(&console);
    (link, command, console)
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
        ToGuest::Command(FIRST, ToCommand::Stdin(bytes)) => bytes.len(),
        other => panic!("{other:?}"),
    };
    frames.iter().map(length).sum()
}

#[test]
fn nothing_is_said_before_the_command_starts() {
    let (link, command, console) = console();
    let mut stdin = CommandStdin::new(&command);
    let typing = Builder::new().spawn(move || stdin.hand_on(b"early").map(|()| stdin.end()));
    assert!(link.resize(100, 30));
    link.be_ready();
    assert_eq!(console.input.unread().unwrap(), b"");
    let order = CommandOrder { command: b"true".to_vec(), ..CommandOrder::default() };
    command.start(&order);
    typing.unwrap().join().unwrap().unwrap();
    let said = [
        ToCommand::Order(order.to_bytes()),
        ToCommand::Start,
        ToCommand::Window { columns: 100, rows: 30 },
        ToCommand::Stdin(b"early".to_vec()),
        ToCommand::StdinEnd,
    ];
    assert_eq!(heard(&console), said.map(|frame| ToGuest::Command(FIRST, frame)));
}

#[test]
fn a_long_order_comes_in_pieces() {
    let (link, command, console) = console();
    link.be_ready();
    let order = CommandOrder { command: vec![b'x'; 10_000], ..CommandOrder::default() };
    command.start(&order);
    let mut bytes = Vec::new();
    for frame in heard(&console) {
        match frame {
            ToGuest::Command(FIRST, ToCommand::Order(piece)) => bytes.extend(piece),
            other => assert_eq!(other, ToGuest::Command(FIRST, ToCommand::Start)),
        }
    }
    assert_eq!(CommandOrder::from_bytes(&bytes), Some(order));
}

#[test]
fn commands_wait_until_the_guest_is_saved() {
    let (link, _command, _console) = console();
    link.hold(true);
    link.be_ready();
    let waiting = Arc::clone(&link);
    let waiting =
        Builder::new().name("link-held".into()).spawn(move || waiting.wait_until_ready(None));
    until("it waits", || is_asleep("link-held"));
    link.hold(false);
    assert!(in_time("it starts", move || waiting.unwrap().join().unwrap()));
}

#[test]
fn no_more_input_is_sent_than_is_taken() {
    let (link, command, console) = started();
    let mut stdin = CommandStdin::new(&command);
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
    link.receive(FIRST, FromCommand::Taken(100)).unwrap();
    typing.join().unwrap().unwrap();
    assert_eq!(input(&heard(&console)), 100);
    // The credit of a guest that reports more than it got does not grow beyond the window.
    link.receive(FIRST, FromCommand::Taken(u32::MAX)).unwrap();
    assert_eq!(link.lock().commands[&FIRST].credit, INPUT_WINDOW);
}

#[test]
fn each_frame_fits_into_a_pipe_as_one() {
    let (_link, command, console) = started();
    CommandStdin::new(&command).hand_on(&[7; 10_000]).unwrap();
    let frames = heard(&console);
    assert!(frames.iter().all(|frame| frame.encode().len() <= libc::PIPE_BUF), "too long");
    assert_eq!(input(&frames), 10_000);
}

#[test]
fn typing_does_not_wait_for_a_command_that_does_not_read() {
    let (_link, command, _console) = started();
    let mut stdin = CommandStdin::new(&command);
    in_time("it gives up", move || (0..1000).for_each(|_| stdin.type_in(&[7; 4096])));
}

#[test]
fn commands_of_clients_have_numbers_of_their_own() {
    let (link, _first, _console) = started();
    let ids =
        |commands: &[LinkedCommand]| -> Vec<_> { commands.iter().map(LinkedCommand::id).collect() };
    let some: Vec<_> = (0..3).map(|_| link.new_command().unwrap()).collect();
    assert_eq!(ids(&some), [1, 2, 3]);
    // A number is not used again soon: frames of the old command may be under way.
    link.receive(2, FromCommand::Ended(0)).unwrap();
    link.lock().last = CommandId::MAX - 2;
    let more: Vec<_> = (0..3).map(|_| link.new_command().unwrap()).collect();
    assert_eq!(ids(&more), [CommandId::MAX - 1, 2, 4]);
    let mut all = Vec::new();
    all.extend(std::iter::from_fn(|| link.new_command()));
    assert_eq!(link.lock().commands.len(), MOST_COMMANDS);
    // Those that were never started make room.
    drop((all, some, more));
    assert_eq!(link.lock().commands.len(), 1);
}

#[test]
fn each_command_gets_its_own_output() {
    let (link, first, _console) = started();
    let other = link.new_command().unwrap();
    link.receive(FIRST, FromCommand::Stdout(b"first".to_vec())).unwrap();
    link.receive(1, FromCommand::Stderr(b"other".to_vec())).unwrap();
    link.receive(1, FromCommand::Ended(3)).unwrap();
    link.receive(7, FromCommand::Ended(4)).unwrap();
    assert_eq!(other.next_output(), Some(FromCommand::Stderr(b"other".to_vec())));
    assert_eq!(other.next_output(), Some(FromCommand::Ended(3)));
    assert_eq!(other.next_output(), None);
    link.close();
    assert_eq!(first.next_output(), Some(FromCommand::Stdout(b"first".to_vec())));
    assert_eq!(first.next_output(), None);
}

/// An init that was replaced without a reset of the machine, by kexec for example.
#[test]
fn a_second_hello_ends_the_commands_of_the_first() {
    let (link, first, _console) = started();
    link.greet();
    assert!(!link.is_ready() && link.is_idle());
    assert_eq!(first.next_output(), None);
    assert!(first.send_some(b"x", None).is_err());
}

#[test]
fn short_frames_are_joined() {
    let (link, first, _console) = started();
    for byte in b"joined" {
        link.receive(FIRST, FromCommand::Stdout(vec![*byte])).unwrap();
    }
    link.receive(FIRST, FromCommand::Stderr(b"other".to_vec())).unwrap();
    assert_eq!(first.next_output(), Some(FromCommand::Stdout(b"joined".to_vec())));
    assert_eq!(first.next_output(), Some(FromCommand::Stderr(b"other".to_vec())));
}

/// The main thread looks at the link while it holds the input to save it.
#[test]
fn a_held_input_blocks_no_look_at_the_link() {
    let (link, _command, console) = started();
    console.input.hold(true);
    let resizing = Arc::clone(&link);
    let resize = Builder::new().name("link-resize".into());
    let resize = resize.spawn(move || resizing.resize(100, 30)).unwrap();
    until("it waits", || is_asleep("link-resize"));
    let looking = Arc::clone(&link);
    assert!(in_time("the link answers", move || looking.is_ready()));
    console.input.hold(false);
    assert!(in_time("it is sent", move || resize.join().unwrap()));
}

#[test]
fn a_guest_that_sends_more_than_it_was_granted_is_found_out() {
    let (link, _first, _console) = started();
    let half = usize::try_from(OUTPUT_WINDOW / 2).unwrap();
    link.receive(FIRST, FromCommand::Stdout(vec![7; half])).unwrap();
    link.receive(FIRST, FromCommand::Stderr(vec![7; half])).unwrap();
    assert_eq!(link.receive(FIRST, FromCommand::Stdout(vec![7])), Err(Overrun));
}

/// The command continues without its client, and its output does not stop it.
#[test]
fn a_command_whose_client_has_left_gets_a_signal() {
    let (link, _first, console) = started();
    let left = link.new_command().unwrap();
    left.start(&CommandOrder::default());
    heard(&console);
    link.receive(1, FromCommand::Stdout(vec![7; 100])).unwrap();
    left.leave();
    link.receive(1, FromCommand::Stdout(vec![7; 10])).unwrap();
    assert_eq!(heard(&console), [ToGuest::Command(1, ToCommand::HangUp)]);
    assert_eq!(left.next_output(), None);
    link.receive(1, FromCommand::Ended(0)).unwrap();
    left.leave();
    assert_eq!(console.input.unread().unwrap(), b"");
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
    let (link, command, console) = console();
    let mut stdin = CommandStdin::new(&command);
    leaves_at_the_end(&link, "link-end", move || stdin.end());
    let mut stdin = CommandStdin::new(&command);
    in_time("nothing is sent", move || assert!(stdin.hand_on(b"x").is_err()));
    assert_eq!(console.input.unread().unwrap(), b"");

    let (link, command, _console) = self::console();
    let mut stdin = CommandStdin::new(&command);
    leaves_at_the_end(&link, "link-early", move || assert!(stdin.hand_on(b"x").is_err()));

    let (link, _command, _console) = self::console();
    let waiting = Arc::clone(&link);
    leaves_at_the_end(&link, "link-ready", move || assert!(!waiting.wait_until_ready(None)));
}

/// The guest reports bytes as read that it has not read: the pipe is full then, whatever the window
/// says.
#[test]
fn a_guest_that_grants_more_than_it_reads_holds_up_nobody_for_ever() {
    let (link, command, console) = started();
    let mut stdin = CommandStdin::new(&command);
    let (granting, sending) = (Arc::clone(&link), Arc::clone(&console));
    let typing = Builder::new().name("link-full".into()).spawn(move || {
        while stdin.hand_on(&[7; PIECE]).is_ok() {
            granting.receive(FIRST, FromCommand::Taken(u32::MAX)).unwrap();
        }
    });
    let frame = ToGuest::Command(7, ToCommand::Archive(vec![0; PIECE])).encode();
    until("there is no room", || sending.input.send(&frame).unwrap() == 0);
    until("it waits", || is_asleep("link-full"));
    // The main thread does not wait either: it has to send the window's size again.
    assert!(!link.resize(1, 1));
    link.end();
    in_time("it leaves", move || typing.unwrap().join().unwrap());
}
