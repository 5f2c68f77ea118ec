//! Everything that a program has printed so far. A thread reads it all the time, so that a test
//! never delays the program.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::wait::OrFail;

/// Everything that came out of one descriptor.
#[derive(Debug)]
pub struct Transcript {
    shared: Arc<Shared>,
    /// How far the test has read.
    seen: usize,
    /// Closing this ends the reader.
    _stop: PipeWriter,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transcript {
    /// Starts to read.
    #[must_use]
    #[track_caller]
    pub fn of(file: impl Into<OwnedFd>) -> Self {
        let file = File::from(file.into());
        let (stopped, stop) = io::pipe().or_fail("creating a pipe");
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("transcript".into())
            .spawn(move || read(file, &stopped, &theirs))
            .or_fail("starting a thread");
        Self { shared, seen: 0, _stop: stop }
    }

    /// Waits until `text` comes after everything that was found before, and returns what came in
    /// between. Returns `None` if the time is over, or if nothing more can come.
    pub fn find(&mut self, text: &str, time: Duration) -> Option<String> {
        let deadline = Instant::now() + time;
        let mut searched = self.seen;
        let mut state = self.shared.lock();
        loop {
            let new = state.bytes.get(searched..).unwrap_or_default();
            if let Some(offset) = position(new, text.as_bytes()) {
                let start = searched + offset;
                let before = state.bytes.get(self.seen..start).unwrap_or_default();
                self.seen = start + text.len();
                return Some(String::from_utf8_lossy(before).into_owned());
            }
            // A part of the text may be in the last chunk.
            searched = self.seen.max((searched + new.len()).saturating_sub(text.len()));
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            let woken = self.shared.more.wait_timeout(state, left);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns what came since the last text that was found, without waiting.
    #[must_use]
    pub fn unseen(&self) -> Vec<u8> {
        self.shared.lock().bytes.get(self.seen..).unwrap_or_default().to_vec()
    }

    /// Everything that came so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.shared.lock().bytes.clone()
    }

    /// How many bytes came so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().bytes.len()
    }

    /// Whether nothing came so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything that came so far, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.lock().bytes).into_owned()
    }

    /// Whether nothing more can come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.shared.lock().ended
    }

    /// The last lines, for a person who looks for the fault.
    #[must_use]
    pub fn tail(&self) -> String {
        const LENGTH: usize = 6000;
        let state = self.shared.lock();
        let start = state.bytes.len().saturating_sub(LENGTH);
        let tail = String::from_utf8_lossy(state.bytes.get(start..).unwrap_or_default());
        let readable = tail.replace("\r\n", "\n");
        let shown = |c: char| match c {
            '\n' | '\t' => c.to_string(),
            c if c.is_control() => c.escape_default().to_string(),
            c => c.to_string(),
        };
        readable.chars().map(shown).collect()
    }
}

/// Reads to the end, or until the test is over.
fn read(mut file: File, stopped: &PipeReader, shared: &Shared) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let mut fds = [
            PollFd::new(file.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        let polled = poll(&mut fds, PollTimeout::NONE);
        if polled.is_ok() && fds[1].any() == Some(true) {
            return;
        }
        let length = file.read(&mut buffer).unwrap_or(0);
        let mut state = shared.lock();
        state.bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
        state.ended = length == 0;
        shared.more.notify_all();
        if state.ended {
            return;
        }
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len().max(1)).position(|window| window == wanted)
}
