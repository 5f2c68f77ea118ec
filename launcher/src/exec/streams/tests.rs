use std::fs::File;
use std::io::{Read, Write};
use std::thread::Builder;

use host::testing::in_time;
use lguest_init::frame::{ToCommand, ToGuest};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::*;
use crate::config::console::{Backend, ConsoleConfig};
use crate::console::GuestConsole;
use crate::exec::link::REPORT_AFTER;

/// A command's console, whose output goes to two pipes.
struct Example {
    console: Arc<GuestConsole>,
    exit: Arc<Exit<Ending>>,
    stdout: File,
    stderr: File,
}

fn example() -> Example {
    let backend = Backend::Exec { tty: false };
    let configs = [ConsoleConfig { backend, ..ConsoleConfig::default() }];
    let (console, end) = crate::console::open_all(&configs).unwrap().remove(0);
    let exit = Arc::new(Exit::new().unwrap());
    let [stdout, stderr] = [(); 2].map(|()| pipe2(OFlag::O_CLOEXEC).unwrap());
    let link = Arc::clone(end.init_link().unwrap());
    let mut body = ExecOutput {
        command: Arc::new(link.first_command()),
        exit: Arc::clone(&exit),
        stdout: OutputStream::new("stdout", stdout.1, None),
        stderr: OutputStream::new("stderr", stderr.1, None),
    };
    let mut reader = LinkReader::new(console.output.reader(ReaderRole::Writer), &link, &exit);
    Builder::new().spawn(move || body.run()).unwrap();
    Builder::new().spawn(move || reader.run()).unwrap();
    Example { console, exit, stdout: stdout.0.into(), stderr: stderr.0.into() }
}

impl Example {
    /// Send a frame of the launch's command from the guest.
    fn send(&self, frame: FromCommand) {
        self.print(&FromGuest::Command(0, frame).encode());
    }

    /// Send these bytes from the guest.
    fn print(&self, bytes: &[u8]) {
        self.console.output.sink().write_all(bytes).unwrap();
    }

    /// End the guest's output. Returns stdout, stderr, and the ending.
    fn finish(mut self) -> (Vec<u8>, Vec<u8>, Option<Ending>) {
        self.console.finish("");
        in_time("all is written", move || {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            self.stdout.read_to_end(&mut stdout).unwrap();
            self.stderr.read_to_end(&mut stderr).unwrap();
            (stdout, stderr, self.exit.take())
        })
    }
}

#[test]
fn each_stream_is_its_own_and_the_status_comes_last() {
    let example = example();
    example.print(&FromGuest::Hello(VERSION).encode());
    example.print(&FromGuest::Ready.encode());
    for frame in [
        FromCommand::Stdout(b"out\0\xff".to_vec()),
        FromCommand::Stderr(b"err".to_vec()),
        FromCommand::Stdout(b"more".to_vec()),
        FromCommand::Ended(7),
    ] {
        example.send(frame);
    }
    let all = (b"out\0\xffmore".to_vec(), b"err".to_vec(), Some(Ending::Exited(7)));
    assert_eq!(example.finish(), all);
}

#[test]
fn the_guest_gets_reports_of_written_output() {
    let mut example = example();
    let window = usize::try_from(REPORT_AFTER).unwrap();
    (0..8).for_each(|_| example.send(FromCommand::Stdout(vec![7; window / 8])));
    let mut read = vec![0; window];
    example.stdout.read_exact(&mut read).unwrap();
    let wanted = ToGuest::Command(0, ToCommand::Written(REPORT_AFTER)).encode();
    let mut told = vec![0; wanted.len()];
    let mut guest_end = example.console.input.guest_end().unwrap();
    let told = in_time("it is told", move || guest_end.read_exact(&mut told).map(|()| told));
    assert_eq!(told.unwrap(), wanted);
}

#[test]
fn what_is_no_frame_ends_the_guest_with_one_line() {
    for bytes in [
        &b"[    0.000000] Linux version"[..],
        &[4, 0, 0, 0xff, 0xff, 0xff, 0xff],
        &[2, 0, 0, 1, 0, 0, 0],
    ] {
        let example = example();
        example.send(FromCommand::Stdout(b"before".to_vec()));
        example.print(bytes);
        example.send(FromCommand::Ended(0));
        let (stdout, _, ending) = example.finish();
        assert_eq!(stdout, b"before");
        let Some(Ending::Failed(why)) = ending else { panic!("{ending:?}") };
        assert_eq!(why.lines().count(), 1, "{why}");
    }
}

#[test]
fn a_closed_stdout_does_not_end_the_command() {
    let mut example = example();
    example.stdout = File::open("/dev/null").unwrap();
    example.send(FromCommand::Stdout(b"lost".to_vec()));
    example.send(FromCommand::Stderr(b"err".to_vec()));
    example.send(FromCommand::Ended(3));
    let (_, stderr, ending) = example.finish();
    assert_eq!((stderr, ending), (b"err".to_vec(), Some(Ending::Exited(3))));
}

#[test]
fn what_comes_after_the_status_changes_nothing() {
    let example = example();
    for frame in [
        FromGuest::Command(0, FromCommand::Ended(3)),
        FromGuest::Hello(VERSION),
        FromGuest::Ready,
        FromGuest::Command(0, FromCommand::Taken(u32::MAX)),
        FromGuest::Command(0, FromCommand::Ended(0)),
        FromGuest::Command(0, FromCommand::NotStarted("late".into())),
    ] {
        example.print(&frame.encode());
    }
    example.print(b"[    9.0] reboot: Power down");
    assert_eq!(example.finish(), (Vec::new(), Vec::new(), Some(Ending::Exited(3))));
}

/// Half a frame does not end the guest: [`crate::exec::judge`] decides how the guest did.
#[test]
fn half_a_frame_at_the_end_is_nothing() {
    for frame in [FromCommand::Ended(0), FromCommand::Stdout(b"half".to_vec())] {
        let bytes = FromGuest::Command(0, frame).encode();
        for length in 0..bytes.len() {
            let example = example();
            example.send(FromCommand::Stderr(b"err".to_vec()));
            example.print(&bytes[..length]);
            assert_eq!(example.finish(), (Vec::new(), b"err".to_vec(), None), "{length}");
        }
    }
}

#[test]
fn an_init_of_another_version_is_refused() {
    let example = example();
    example.print(&FromGuest::Hello(VERSION + 1).encode());
    let (_, _, ending) = example.finish();
    let Some(Ending::Failed(why)) = ending else { panic!("{ending:?}") };
    assert!(why.contains("speaks version"), "{why}");
}

/// The guest prints for ever, and never reads the reports.
#[test]
fn a_guest_that_does_not_hear_is_written_out_to_the_end() {
    let mut example = example();
    let frame = ToGuest::Command(7, ToCommand::Archive(vec![0; 4000])).encode();
    while example.console.input.send(&frame).unwrap() > 0 {}
    // Nor has the pipe room for the shortest frame.
    while example.console.input.send(&[0]).unwrap() > 0 {}
    let window = usize::try_from(REPORT_AFTER).unwrap();
    (0..window >> 14).for_each(|_| example.send(FromCommand::Stdout(vec![7; 1 << 14])));
    example.send(FromCommand::Ended(3));
    let mut read = vec![0; window];
    example.stdout.read_exact(&mut read).unwrap();
    let (stdout, _, ending) = example.finish();
    assert_eq!((stdout, ending), (Vec::new(), Some(Ending::Exited(3))));
}

/// The old guest was stopped in the middle of a frame.
#[test]
fn a_guest_that_is_started_again_begins_anew() {
    let example = example();
    let link = Arc::clone(example.console.init_link().unwrap());
    let send = |frame: FromGuest| example.print(&frame.encode());
    send(FromGuest::Hello(VERSION));
    send(FromGuest::Ready);
    in_time("it is ready", {
        let link = Arc::clone(&link);
        move || assert!(link.wait_until_ready(None))
    });
    let command = link.new_command().unwrap();
    let half = FromGuest::Command(1, FromCommand::Stdout(b"half".to_vec())).encode();
    example.print(&half[..half.len() - 1]);

    link.restart(example.console.output.end()).unwrap();

    assert!(!link.is_ready());
    assert_eq!(command.next_output(), None);
    assert_eq!(example.console.input.unread().unwrap(), b"");
    send(FromGuest::Hello(VERSION));
    send(FromGuest::Ready);
    in_time("it is ready again", {
        let link = Arc::clone(&link);
        move || assert!(link.wait_until_ready(None))
    });
    assert_eq!(example.finish().2, None);
}
