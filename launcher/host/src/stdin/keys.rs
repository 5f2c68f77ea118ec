//! Input from a terminal: passed on to the guest key by key, while three ^C
//! end the guest. Runs in the thread that [`super::start`] makes.
//! [`crate::terminal::Tty`] decides whether the terminal may be read at all.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices::log_interval::BY_GUEST;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::InputSink;
use super::keyboard::{Key, KeyParser};
use crate::exit::{End, Exit, Interruption};
use crate::input::InputPipe;
use crate::terminal::Tty;

/// How long to wait for a guest whose pipe is full. A guest that takes nothing for this long does
/// not read its console: further keys are lost, but three ^C still end the guest.
const PATIENCE: Duration = Duration::from_secs(1);

const CTRL_C: u8 = 0x03;

/// Read the terminal until it is gone or restored for good, and pass keys to `sink`.
pub(super) fn pass_on<T: End>(input: File, mut sink: impl InputSink, tty: &Tty, exit: &Exit<T>) {
    let mut counter = CtrlCCounter::default();
    read(input, tty, |bytes| {
        sink.type_in(bytes);
        if counter.is_third(bytes, Instant::now()) {
            exit.end(Interruption::CtrlC.into());
        }
        None
    });
}

/// Read the terminal until it is gone or restored for good, and call `typed` with the bytes. If
/// `typed` returns a time, it is called again with no bytes when that time has passed without a
/// key.
pub fn read(mut input: File, tty: &Tty, mut typed: impl FnMut(&[u8]) -> Option<Duration>) {
    let mut buffer = vec![0; 1 << 12];
    let mut patience = None;
    while tty.wait_until_ours() {
        if !wait_for_key(&input, tty, patience) {
            patience = typed(&[]);
            continue;
        }
        if !tty.is_ours() {
            continue;
        }
        let room = tty.questions().room(buffer.len());
        if room == 0 {
            tty.look_again();
            continue;
        }
        match input.read(buffer.get_mut(..room).unwrap_or_default()) {
            Ok(0) if tty.is_hung_up() => return,
            Err(_) if tty.is_hung_up() => return,
            Ok(length @ 1..) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                tty.questions().read(bytes);
                patience = typed(bytes);
            }
            // lguest is in the background by now, or no key has come.
            Ok(_) | Err(_) => tty.look_again(),
        }
    }
}

/// Sleep until a key arrives or the terminal is not ours any more: a read would take keys of
/// another program then, and in the background the thread has to check whether lguest is still
/// there ([`Tty::wait_until_ours`]). Returns false if neither happens within `patience`.
fn wait_for_key(input: &File, tty: &Tty, patience: Option<Duration>) -> bool {
    let mut fds =
        [PollFd::new(input.as_fd(), PollFlags::POLLIN), PollFd::new(tty.away(), PollFlags::POLLIN)];
    let timeout = patience.map_or(PollTimeout::NONE, |patience| {
        PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX)
    });
    !matches!(poll(&mut fds, timeout), Ok(0))
}

/// Counts ^C. Each ^C counts only if it is alone in its read: a paste that
/// contains some is not a keypress.
#[derive(Debug, Default)]
struct CtrlCCounter {
    /// The times of the last two ^C.
    times: [Option<Instant>; 2],
    keyboard: KeyParser,
}

impl CtrlCCounter {
    /// Whether these bytes contain the third ^C within a second, with no other key between. Keys
    /// that are held down or released do not count, nor do modifiers.
    fn is_third(&mut self, bytes: &[u8], now: Instant) -> bool {
        // The bytes of a sequence that has begun in an earlier read, and may not become a key.
        let before = self.keyboard.unfinished().len();
        let (mut presses, mut others, mut stale, mut seen) = (0, false, false, 0);
        self.keyboard.read(bytes, |key, bytes| {
            seen += bytes.len();
            match key {
                Key::Press(CTRL_C) => presses += 1,
                Key::Held(_) | Key::Modifier => {}
                Key::Press(_) | Key::Other if seen <= before => stale = true,
                Key::Press(_) | Key::Other => others = true,
            }
        });
        if others || stale || presses > 1 {
            self.times = [None, None];
        }
        if others || presses != 1 {
            return false;
        }
        let [first, second] = self.times;
        self.times = [second, Some(now)];
        first.is_some_and(|first| now.duration_since(first) <= Duration::from_secs(1))
    }
}

/// The guest's input pipe, for the stdin thread, which must not wait for long.
pub(super) struct GuestPipe {
    input: Arc<InputPipe>,
    pipe: File,
    reads: bool,
    patience: Duration,
}

impl GuestPipe {
    /// A sink into the guest's pipe. With a terminal, the pipe becomes non-blocking, so that the
    /// stdin thread does not wait for the guest: no other process shares the description of this
    /// end.
    ///
    /// # Errors
    /// When the pipe cannot be made non-blocking.
    pub(super) fn new(input: &Arc<InputPipe>, has_terminal: bool) -> io::Result<Self> {
        let pipe = input.our_end()?;
        if has_terminal {
            fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { input: Arc::clone(input), pipe, reads: true, patience: PATIENCE })
    }
}

impl InputSink for GuestPipe {
    fn hand_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.send_all(bytes)
    }

    /// Write these bytes. If the guest does not read and its pipe is full, the rest is lost.
    fn type_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.pipe.write(bytes) {
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.reads = true;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.gets_room() => {}
                Err(_) => return,
            }
        }
    }
}

impl GuestPipe {
    /// Wait for room, but only if the guest has read since the last wait: a large paste waits for a
    /// busy guest. Returns whether there is room.
    fn gets_room(&mut self) -> bool {
        let patience = if self.reads { self.patience } else { Duration::ZERO };
        let mut fds = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLOUT)];
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let room = matches!(poll(&mut fds, timeout), Ok(1));
        if self.reads && !room {
            log::warn!(
                target: BY_GUEST,
                "the guest does not read its console: what is typed is lost"
            );
        }
        self.reads = room;
        room
    }
}

#[cfg(test)]
mod tests {
    use std::thread::Builder;

    use super::*;
    use crate::testing::{LONG, in_time, is_full, until};

    fn guest() -> (GuestPipe, File) {
        let input = Arc::new(InputPipe::new().unwrap());
        (GuestPipe::new(&input, true).unwrap(), input.guest_end().unwrap())
    }

    #[test]
    fn a_paste_waits_for_a_slow_guest() {
        let (mut guest, mut theirs) = guest();
        // A busy machine does not make it too slow.
        guest.patience = LONG;
        let pipe = guest.pipe.try_clone().unwrap();
        let typing = Builder::new().spawn(move || guest.type_in(&[b'x'; 1 << 20])).unwrap();
        let mut read = vec![0; 1 << 20];
        for part in read.chunks_mut(50_000) {
            until("it is waited for", || is_full(&pipe) || typing.is_finished());
            theirs.read_exact(part).unwrap();
        }
        assert!(read == [b'x'; 1 << 20]);
        typing.join().unwrap();
    }

    #[test]
    fn a_guest_that_does_not_read_is_waited_for_once() {
        let (mut guest, _theirs) = guest();
        let start = Instant::now();
        let guest = in_time("it gives up", move || {
            (0..100).for_each(|_| guest.type_in(&[b'x'; 1 << 16]));
            guest
        });
        assert!(!guest.reads);
        assert!(start.elapsed() < Duration::from_secs(30), "it waited each time");
    }

    /// Press ^C at these times, in tenths of a second. Returns the index of the one that was the
    /// third.
    fn third(times: &[u64]) -> Option<usize> {
        let (mut counter, start) = (CtrlCCounter::default(), Instant::now());
        let at = |time: &u64| start + Duration::from_millis(100 * time);
        times.iter().position(|time| counter.is_third(&[3], at(time)))
    }

    #[test]
    fn three_ctrl_c_within_a_second_count() {
        assert_eq!(third(&[0, 5, 10]), Some(2));
        assert_eq!(third(&[0, 7, 14]), None);
    }

    #[test]
    fn the_second_begins_anew_with_each_ctrl_c() {
        assert_eq!(third(&[0, 15, 20, 24]), Some(3));
        assert_eq!(third(&[0, 7, 14, 16]), Some(3));
    }

    #[test]
    fn another_key_resets_the_count() {
        let (mut counter, now) = (CtrlCCounter::default(), Instant::now());
        for other in [&b"x"[..], b"\x03\x03", b"\x03x", b"\x1b[99;5u\x03"] {
            assert!(!counter.is_third(&[3], now));
            assert!(!counter.is_third(&[3], now));
            assert!(!counter.is_third(other, now));
        }
        assert!(!counter.is_third(&[3], now));
        assert!(!counter.is_third(&[3], now));
        assert!(counter.is_third(&[3], now));
    }
    /// Press ^C three times, each time in these reads.
    fn is_third(reads: &[&[u8]]) -> bool {
        let (mut counter, now) = (CtrlCCounter::default(), Instant::now());
        (0..3).any(|_| reads.iter().any(|read| counter.is_third(read, now)))
    }

    #[test]
    fn every_encoding_of_ctrl_c_counts() {
        for reads in [
            &[&b"\x1b[99;5u"[..]][..],
            &[b"\x1b[27;5;99~"],
            &[b"\x1b[99", b";5u"],
            &[b"\x1b[57442;5u\x1b[99;5u", b"\x1b[99;5:2u", b"\x1b[99;5:3u\x1b[57442;1:3u"],
        ] {
            assert!(is_third(reads), "{reads:?}");
        }
        for reads in [&[&b"\x1b[99;5:3u"[..]][..], &[b"\x1b[99;5u", b"x"], &[b"\x1b[57442;5u"]] {
            assert!(!is_third(reads), "{reads:?}");
        }
    }

    #[test]
    fn an_escape_before_them_resets_the_count() {
        let (mut counter, now) = (CtrlCCounter::default(), Instant::now());
        for _ in 0..2 {
            assert!(!counter.is_third(b"\x1b", now));
            assert!(!counter.is_third(b"\x03", now));
            assert!(!counter.is_third(b"\x03", now));
        }
        assert!(counter.is_third(b"\x03", now));
    }
}
