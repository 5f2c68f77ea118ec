//! Large outputs: without a client, with a client that reads, and with a client that has stopped.
//! The guest prints numbered lines of equal length, so the test knows each byte.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use tests::files::Scratch;
use tests::{End, Pty, Running, environment, program, until};

use super::client::Client;
use super::{consoles, wait_for_all};

const KIB: usize = 64 << 10;
const ALL: &str = "\u{1e}f 65536\n";

/// The size of a console's buffer.
const KEPT: usize = 1 << 20;

/// Starts a guest named "much" with two consoles.
fn much() -> Running {
    let running = consoles("much", 2).piped();
    wait_for_all(running.runtime(), "much", 2);
    running
}

/// Returns everything that the guest prints on its first console for [`ALL`].
fn printed() -> Vec<u8> {
    let mut all = b"hello 0\n".to_vec();
    for number in 0..KIB * 16 {
        all.extend(format!("{number:08} {:.<54}\n", "").as_bytes());
    }
    all.extend(b"flood done\n");
    all
}

/// Returns the numbers of unread and lost bytes of the first console.
fn unread(running: &Running) -> (usize, usize) {
    let counts = running.lguest(&["peek", "much", "0", "--json"]).well();
    let counts: Value = serde_json::from_str(&counts).unwrap();
    let count = |name: &str| usize::try_from(counts[name].as_u64().unwrap()).unwrap();
    (count("unread"), count("dropped"))
}

#[test]
fn without_a_reader_the_last_output_is_kept_and_lost_bytes_are_counted() {
    let (running, printed) = (much(), printed());
    running.lguest(&["send", "much", "0", ALL]).well();
    until("the guest has printed all", || {
        let (unread, dropped) = unread(&running);
        (unread + dropped == printed.len()).then_some(())
    });
    let dropped = printed.len() - KEPT;
    assert_eq!(unread(&running), (KEPT, dropped));
    assert_eq!(Client::of(&running, "much").log(0), printed[dropped..]);

    // A client that attaches now learns about the loss, and sees no partial line.
    let mut client = Client::of(&running, "much");
    client.attach(0, "write").unwrap();
    let (kind, lost) = client.read_frame().unwrap();
    assert_eq!((kind, lost), (b'l', (dropped as u64).to_le_bytes().to_vec()));
    let line = printed[dropped..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    assert!(line > 1, "the cut is at a line's end: nothing is tested");
    let shown = client.read_until(b"flood done\n").unwrap();
    assert!(shown == printed[dropped + line..], "{} bytes", shown.len());
}

/// Starts `lguest console much > FILE` on a terminal.
fn into_file(running: &Running, file: &Path) -> Running {
    let (runtime, launcher) = (running.runtime().display(), environment::launcher());
    let line = format!(
        "XDG_RUNTIME_DIR={runtime} exec {} console much > {}",
        environment::quoted(&launcher),
        file.display()
    );
    let mut user = program(&["sh", "-c", &line], &PathBuf::from("/"), Pty::new(30, 100));
    user.expect_stderr("attached to much");
    user
}

/// A named pipe, and what was read from it.
struct Pipe {
    path: PathBuf,
    reader: File,
    shown: Vec<u8>,
}

impl Pipe {
    #[track_caller]
    fn new(scratch: &Scratch) -> Self {
        let path = scratch.path().join("pipe");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        // Opened for writing as well, so that it has no end.
        let flags = nix::libc::O_NONBLOCK;
        let reader =
            File::options().read(true).write(true).custom_flags(flags).open(&path).unwrap();
        Self { path, reader, shown: Vec::new() }
    }

    /// Reads until `there` is true for everything that was read.
    #[track_caller]
    fn read_until(&mut self, what: &str, there: impl Fn(&[u8]) -> bool) {
        until(what, || {
            let mut part = [0; 64 << 10];
            while !there(&self.shown)
                && let Ok(length) = self.reader.read(&mut part)
            {
                self.shown.extend(&part[..length]);
            }
            there(&self.shown).then_some(())
        });
    }
}

fn length(file: &Path) -> usize {
    usize::try_from(fs::metadata(file).unwrap().len()).unwrap()
}

#[test]
fn a_client_that_reads_loses_nothing() {
    let (mut running, printed, scratch) = (much(), printed(), Scratch::new());
    let file = scratch.path().join("output");
    let mut user = into_file(&running, &file);
    running.lguest(&["send", "much", "0", ALL]).well();
    until("the file has all of the output", || (length(&file) >= printed.len()).then_some(()));
    running.lguest(&["send", "much", "0", "\u{1e}p"]).well();
    assert_eq!((running.wait(), user.wait()), (End::Status(0), End::Status(0)));
    assert!(fs::read(&file).unwrap() == printed, "other bytes arrived");
    assert!(!user.stderr().contains("lost"), "{}", user.stderr());
}

#[test]
fn a_client_that_stopped_gets_the_last_output_and_the_number_of_lost_bytes() {
    let (running, printed, scratch) = (much(), printed(), Scratch::new());
    // The guest gets no further than this test reads.
    let mut pipe = Pipe::new(&scratch);
    let mut user = into_file(&running, &pipe.path);
    // This comes first, so that the ring has allocated all its memory.
    running.lguest(&["send", "much", "0", "\u{1e}f 2048\n"]).well();
    pipe.read_until("the client has read the flood", |shown| shown.ends_with(b"flood done\n"));
    let before = (pipe.shown.len(), running.process().memory_beyond_guest());

    running.lguest(&["send", "much", "0", ALL]).well();
    let middle = before.0 + (4 << 20);
    pipe.read_until("the client is in the middle of the flood", |shown| shown.len() > middle);
    user.process().signal(Signal::SIGSTOP);
    // Whether the guest waits for the client or not, other consoles are not delayed.
    for number in 0..20 {
        let line = format!("line {number}\n");
        running.lguest(&["send", "much", "1", &line]).well();
        until("the other console answers", || {
            Client::of(&running, "much").log(1).ends_with(line.as_bytes()).then_some(())
        });
    }
    let mut asking = Client::of(&running, "much");
    until("the guest has printed all", || asking.log(0).ends_with(b"flood done\n").then_some(()));
    // An answer with the whole ring in it needs memory for a moment.
    until("the launcher holds no more memory than before", || {
        (running.process().memory_beyond_guest() < before.1 + 2048).then_some(())
    });

    user.process().signal(Signal::SIGCONT);
    pipe.read_until("the client has the last output", |shown| shown.ends_with(b"flood done\n"));
    user.press(0x1d);
    assert_eq!(user.wait(), End::Status(0));
    // The greeting is not part of it, because it came before.
    let printed = &printed[b"hello 0\n".len()..];
    let missing = missing(&pipe.shown[before.0..], printed);
    assert!(missing > 1 << 20, "{missing} bytes lost");
    assert_eq!(missing, told(&user.stderr()));
}

/// Returns how many bytes of the output were not shown. They may be missing in one place, or in
/// several on a machine so busy that nobody read for a while. Asserts that all other bytes came,
/// each once and in order.
fn missing(shown: &[u8], printed: &[u8]) -> usize {
    let mut missing = 0;
    for (at, byte) in shown.iter().enumerate() {
        if printed.get(at + missing) != Some(byte) {
            missing = place_of(&shown[at..], printed).checked_sub(at).unwrap();
            assert_eq!(printed.get(at + missing), Some(byte), "byte {at} is another one");
        }
    }
    assert_eq!(shown.len() + missing, printed.len());
    missing
}

/// Returns the position of these bytes in the output. Each line but the last begins with its
/// number.
fn place_of(shown: &[u8], printed: &[u8]) -> usize {
    let next = shown.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let number = shown.get(next..next + 8).and_then(|digits| str::from_utf8(digits).ok());
    match number.and_then(|digits| digits.parse::<usize>().ok()) {
        Some(number) => number * 64 - next,
        None => printed.len() - shown.len(),
    }
}

/// Returns how many lost bytes a client was notified of.
fn told(said: &str) -> usize {
    let lost = said.lines().filter_map(|line| {
        let line = line.strip_prefix("lguest: ")?;
        line.split_once(" bytes of the guest's output are lost")?.0.parse::<usize>().ok()
    });
    lost.sum()
}
