//! `--console pty[=LINK]`: terminals that other programs open. The guest is the probe, which echoes
//! its input.

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

/// How long nothing is written to the device after a program has opened it.
const SETTLING: Duration = Duration::from_millis(100);

/// Starts a guest named "web" with its console on a pseudo-terminal, and returns the path of the
/// device.
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

/// A program that opens the device, and does not change its modes.
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

    /// Reads until `text` comes, and returns everything.
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
    // The probe echoes its input, so input that came from an echo would be here.
    let log = guest.lguest(&["log", "web"]).well();
    assert_eq!(log, "hello 80x24\nevery byte: \x03\x11\x13\x1d\r");
}

#[test]
fn programs_can_open_and_close_the_pty_repeatedly() {
    let (mut guest, path) = web("--console=pty");
    for round in 0..5 {
        let word = format!("round {round}.");
        // This program types and closes the device at once.
        let mut user = User::open(&path);
        user.send(word.as_bytes());
        drop(user);
        until("the guest has the input", || {
            guest.lguest(&["log", "web"]).well().ends_with(&word).then_some(())
        });
        let mut user = User::open(&path);
        user.expect(&word);
        // A client of lguest is attached as well.
        guest.lguest(&["send", "web", "0", "beside."]).well();
        user.expect("beside.");
    }
    until("the clients are gone", || {
        guest.lguest(&["info", "web", "--json"]).well().contains("\"clients\":0").then_some(())
    });
    let mut user = User::open(&path);
    user.send(b"\x1ep");
    assert_eq!(guest.wait(), End::Status(0));
    guest.assert_nothing_left();
}

/// Most programs flush a terminal when they open it, with everything that has arrived by then.
#[test]
fn a_program_that_flushes_on_open_sees_the_buffered_output() {
    let (guest, path) = web("--console=pty");
    let mut round = 0;
    // This is what a program sees that is quick. A busy machine may delay it, which decides
    // nothing; then the test tries again.
    let sees = || {
        round += 1;
        let word = format!("round {round}.");
        guest.lguest(&["send", "web", "0", &word]).well();
        until("the guest has printed the word", || {
            guest.lguest(&["log", "web"]).well().ends_with(&word).then_some(())
        });
        let came = Instant::now();
        let mut user = User::open(&path);
        let modes = tcgetattr(&user.0).unwrap();
        // A program needs this long to flush: enough time for a launcher that writes at once.
        sleep(Duration::from_millis(30));
        tcsetattr(&user.0, SetArg::TCSAFLUSH, &modes).unwrap();
        let quick = came.elapsed() < SETTLING;
        user.send(b"|");
        let seen = user.expect("|");
        quick.then_some((word, seen))
    };
    let (word, seen) = until("a program reads soon enough", sees);
    assert!(seen.contains(&word), "the program does not see the output: {seen:?}");
}

#[test]
fn output_that_one_program_leaves_unread_is_there_for_the_next() {
    let (guest, path) = web("--console=pty");
    let user = User::open(&path);
    until("all output is written to the device", || {
        guest.lguest(&["info", "web", "--json"]).well().contains("\"unread\":0").then_some(())
    });
    drop(user);
    assert_eq!(User::open(&path).expect("\n"), "hello 80x24\n");
}

/// The output is much more than the ring and the kernel hold.
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
    // A program that reads gets all of it.
    user.send(b"\x1ef1024\nsecond done\n");
    let second = user.expect("second done\n");
    assert_eq!(second.len(), 1024 * 1024 + "second done\n".len());
    // A program that does not read is regarded as absent after a while.
    user.send(b"\x1ef1024\nthird done\n");
    until("the guest has printed all", || {
        guest.lguest(&["log", "web"]).well().ends_with("third done\n").then_some(())
    });
    assert!(user.expect("third done\n").contains("bytes are lost]"));
}

/// A program that opens the device right after another one closed it gets the output, even if the
/// launcher has not noticed that the device was closed.
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
        // The rest of what was left ends the first line. The second line is new output.
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

    // A killed launcher has left this link.
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
    // The launcher waits for the program for a moment.
    until("the guest has ended", || {
        guest.process().threads().iter().all(|name| !name.starts_with("vcpu")).then_some(())
    });
    user.expect("last words");
    assert_eq!(guest.wait(), End::Status(0));
    let mut fds = [PollFd::new(user.0.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).unwrap();
    assert!(fds[0].revents().unwrap().contains(PollFlags::POLLHUP));
}

/// The launcher checks repeatedly whether the program has read everything, but not forever.
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

/// The threads sleep, with and without a program on the device.
#[test]
fn the_pty_threads_do_not_poll() {
    let (guest, path) = web("--console=pty");
    let scratch = Scratch::new();
    let threads =
        ["con0-pty-in", "con0-pty-out"].map(|name| guest.process().thread(name).unwrap().id);
    let mut users = Vec::new();
    for round in 0..2 {
        let trace = Strace::attach(guest.process(), scratch.path(), &[]);
        // These commands take time, and do not concern the console.
        for _ in 0..20 {
            guest.lguest(&["list"]).well();
        }
        let calls = trace.detach_all();
        for thread in threads {
            // strace interrupts the call in which a thread sleeps.
            let made = calls.get(&thread).map_or(0, Vec::len);
            assert!(made <= 2, "{:?}", calls[&thread]);
        }
        if round == 0 {
            users.push(User::open(&path));
            users[0].expect("hello 80x24\n");
        }
    }
}
