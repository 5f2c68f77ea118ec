//! `--console pty[=LINK]`: terminals that other programs open. The guest is the probe,
//! which echoes what it reads.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use tests::files::Scratch;
use tests::{End, Pty, Running, Snapshot, Strace, patience, program, until};

use super::probe;

/// For so long after somebody has opened the device, nothing is written to it.
const SETTLING: Duration = Duration::from_millis(100);

/// A guest named "web" with its console on a pseudo-terminal, and the device.
fn web(option: &str) -> (Running, PathBuf) {
    let running = probe("console").option("--name=web").option(option).piped();
    until("the guest has printed", || {
        (running.lguest(&["log", "web"]).stdout == "hello 80x24\n").then_some(())
    });
    let info = running.lguest(&["info", "web", "--json"]).well();
    assert!(info.contains("\"backend\":\"pty\""), "{info}");
    let path = info.split('"').find(|word| word.starts_with("/dev/pts/")).unwrap().into();
    (running, path)
}

/// Somebody who opens it, and changes nothing about it.
struct User(File);

impl User {
    fn open(path: &Path) -> Self {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(O_NOCTTY | O_NONBLOCK);
        Self(options.open(path).unwrap())
    }

    fn send(&mut self, keys: &[u8]) {
        self.0.write_all(keys).unwrap();
    }

    /// All that comes until this does.
    fn expect(&mut self, text: &str) -> String {
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&read).contains(text) {
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::try_from(patience()).unwrap()).unwrap();
            assert_eq!(ready, 1, "no {text:?} in {:?}", String::from_utf8_lossy(&read));
            let count = self.0.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "the end, after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(read).unwrap()
    }
}

#[test]
fn the_pty_is_raw_and_does_not_echo_output_as_input() {
    let (guest, path) = web("--console=pty");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut user = User::open(&path);
    assert!(Snapshot::of(user.0.as_fd()).is_raw());
    assert_eq!(user.expect("\n"), "hello 80x24\n");
    user.send(b"every byte: \x03\x11\x13\x1d\r");
    assert_eq!(user.expect("\r"), "every byte: \x03\x11\x13\x1d\r");
    // The probe echoes: what had been echoed to it would be here.
    let log = guest.lguest(&["log", "web"]).well();
    assert_eq!(log, "hello 80x24\nevery byte: \x03\x11\x13\x1d\r");
}

#[test]
fn programs_can_open_and_close_the_pty_repeatedly() {
    let (mut guest, path) = web("--console=pty");
    for round in 0..5 {
        let word = format!("round {round}.");
        // Somebody who types and leaves at once.
        let mut user = User::open(&path);
        user.send(word.as_bytes());
        drop(user);
        until("it is typed", || {
            guest.lguest(&["log", "web"]).well().ends_with(&word).then_some(())
        });
        let mut user = User::open(&path);
        user.expect(&word);
        // A client of lguest's sits beside them.
        guest.lguest(&["send", "web", "0", "beside."]).well();
        user.expect("beside.");
    }
    until("they are gone", || {
        guest.lguest(&["info", "web", "--json"]).well().contains("\"clients\":0").then_some(())
    });
    let mut user = User::open(&path);
    user.send(b"\x1ep");
    assert_eq!(guest.wait(), End::Status(0));
    guest.assert_nothing_left();
}

/// As most programs do when they open a terminal, with all that has come by then.
#[test]
fn a_program_that_flushes_on_open_sees_the_buffered_output() {
    let (guest, path) = web("--console=pty");
    let mut round = 0;
    // What it sees, if it is as quick as a program is. On a busy machine it may be slower, which
    // decides nothing: then once more.
    let sees = || {
        round += 1;
        let word = format!("round {round}.");
        guest.lguest(&["send", "web", "0", &word]).well();
        until("it is printed", || {
            guest.lguest(&["log", "web"]).well().ends_with(&word).then_some(())
        });
        let came = Instant::now();
        let mut user = User::open(&path);
        let modes = tcgetattr(&user.0).unwrap();
        // What a program takes to get there: time enough for a launcher that writes at once.
        sleep(Duration::from_millis(30));
        tcsetattr(&user.0, SetArg::TCSAFLUSH, &modes).unwrap();
        let quick = came.elapsed() < SETTLING;
        user.send(b"|");
        let seen = user.expect("|");
        quick.then_some((word, seen))
    };
    let (word, seen) = until("a program is quick", sees);
    assert!(seen.contains(&word), "what was printed is thrown away: {seen:?}");
}

#[test]
fn output_that_one_program_leaves_unread_is_there_for_the_next() {
    let (guest, path) = web("--console=pty");
    let user = User::open(&path);
    until("it is written", || {
        guest.lguest(&["info", "web", "--json"]).well().contains("\"unread\":0").then_some(())
    });
    drop(user);
    assert_eq!(User::open(&path).expect("\n"), "hello 80x24\n");
}

/// Much more than the ring and the kernel hold.
#[test]
fn a_guest_waits_for_a_reader_and_not_for_an_absent_one() {
    let (guest, path) = web("--console=pty,buffer=64K");
    guest.lguest(&["send", "web", "0", "\u{1e}f1024\nflood done\n"]).well();
    until("the guest has printed all", || {
        guest.lguest(&["log", "web"]).well().ends_with("flood done\n").then_some(())
    });
    let mut user = User::open(&path);
    let late = user.expect("flood done\n");
    let (notice, _) = late.trim_start().split_once("]\r\n").unwrap();
    assert!(notice.starts_with("[lguest: ") && notice.ends_with("bytes are lost"), "{notice:?}");
    // The same for one who is there: all of it.
    user.send(b"\x1ef1024\nsecond done\n");
    let second = user.expect("second done\n");
    assert_eq!(second.len(), 1024 * 1024 + "second done\n".len());
    // One who is there and does not read is absent after a while.
    user.send(b"\x1ef1024\nthird done\n");
    until("the guest has printed all", || {
        guest.lguest(&["log", "web"]).well().ends_with("third done\n").then_some(())
    });
    assert!(user.expect("third done\n").contains("bytes are lost]"));
}

/// Who comes at once after another one sees what comes, be it that the launcher has not
/// even noticed that there was nobody for a moment.
#[test]
fn programs_that_follow_each_other_at_once_all_get_output() {
    let (guest, path) = web("--console=pty");
    guest.lguest(&["send", "web", "0", "\u{1e}f90000000\n"]).well();
    for _ in 0..40 {
        let mut user = User::open(&path);
        user.expect("\n");
        for _ in 0..6 {
            drop(user);
            user = User::open(&path);
        }
        user.expect("\n");
        // Not what had been left for it.
        user.expect("\n");
    }
}

#[test]
fn the_guest_gets_the_window_size_of_the_pty() {
    let (_guest, path) = web("--console=pty");
    let mut user = User::open(&path);
    user.expect("hello 80x24\n");
    user.send(b"\x1ew");
    let device = path.to_str().unwrap();
    let words = ["stty", "-F", device, "rows", "41", "columns", "133"];
    assert_eq!(program(&words, Path::new("/"), Pty::new(24, 80)).wait(), End::Status(0));
    user.expect("resized 133x41");
}

#[test]
fn the_link_exists_as_long_as_the_pty() {
    let scratch = Scratch::new();
    let link = scratch.path().join("con0");
    let option = format!("--console=pty={}", link.display());
    let (mut guest, path) = web(&option);
    assert_eq!(fs::read_link(&link).unwrap(), path);
    User::open(&link).expect("hello");
    let refused = |words: &str| {
        let mut running = probe("console").option(&option).on_terminal();
        assert_eq!(running.wait(), End::Status(1));
        assert!(running.stderr().contains(words), "{}", running.stderr());
        running.assert_terminal_restored();
        running.assert_nothing_left();
    };
    refused(&format!("con0: it is there already, a link to {}: remove it", path.display()));
    guest.process().signal(Signal::SIGTERM);
    assert_eq!(guest.wait(), End::Status(143));
    assert!(fs::symlink_metadata(&link).is_err(), "the link is left");

    // One that a killed launcher has left.
    symlink("/dev/pts/no-more", &link).unwrap();
    let (guest, path) = web(&option);
    assert_eq!(fs::read_link(&link).unwrap(), path);
    guest.process().signal(Signal::SIGKILL);
    drop(guest);
    fs::remove_file(&link).unwrap();
    fs::write(&link, "precious").unwrap();
    refused("con0: it is there already: remove it, or give another name");
    assert_eq!(fs::read_to_string(&link).unwrap(), "precious");
}

#[test]
fn a_program_on_the_pty_sees_the_guest_end() {
    let (mut guest, path) = web("--console=pty");
    let mut user = User::open(&path);
    user.expect("hello 80x24\n");
    user.send(b"last words\x1ep");
    // For a moment, the launcher waits for him.
    until("the guest has ended", || {
        guest.process().threads().iter().all(|name| !name.starts_with("vcpu")).then_some(())
    });
    user.expect("last words");
    assert_eq!(guest.wait(), End::Status(0));
    let mut fds = [PollFd::new(user.0.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).unwrap();
    assert!(fds[0].revents().unwrap().contains(PollFlags::POLLHUP));
}

/// It looks again and again whether what is there has been read, but not for ever.
#[test]
fn the_end_waits_briefly_for_a_slow_reader() {
    let (mut guest, path) = web("--console=pty");
    let mut user = User::open(&path);
    user.expect("hello 80x24\n");
    let scratch = Scratch::new();
    let writer = guest.process().thread("con0-pty-out").unwrap().id;
    let trace = Strace::attach(guest.process(), scratch.path(), &["trace=clock_nanosleep"]);
    user.send(b"last words\x1ep");
    assert_eq!(guest.wait(), End::Status(0));
    let looked = trace.detach(writer);
    assert!(looked.len() > 2, "{looked:?}");
}

/// Nobody there, and somebody: its threads sleep.
#[test]
fn the_pty_threads_do_not_poll() {
    let (guest, path) = web("--console=pty");
    let scratch = Scratch::new();
    let threads =
        ["con0-pty-in", "con0-pty-out"].map(|name| guest.process().thread(name).unwrap().id);
    let mut users = Vec::new();
    for round in 0..2 {
        let trace = Strace::attach(guest.process(), scratch.path(), &[]);
        // What takes its time, and has nothing to do with them.
        for _ in 0..20 {
            guest.lguest(&["list"]).well();
        }
        let calls = trace.detach_all();
        for thread in threads {
            // strace interrupts what they sleep in.
            let made = calls.get(&thread).map_or(0, Vec::len);
            assert!(made <= 2, "{:?}", calls[&thread]);
        }
        if round == 0 {
            users.push(User::open(&path));
            users[0].expect("hello 80x24\n");
        }
    }
}
