//! What the guest prints, on its way to stdout. A ring holds it between the
//! console's transmit queue, which must not be held up by a reader that has
//! gone away, and a thread that blocks in write(2). A reader that reads, however
//! slowly, loses nothing. The two halves: [`Sink`] fills, [`writer`] empties.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;

use crate::exit::Ending;
use crate::signals::{Signals, Wake};

mod screen;
mod sink;
mod writer;

#[cfg(test)]
mod tests;

use screen::Screen;
pub(crate) use sink::Sink;

/// What a reader may leave unread before anybody waits for it.
const CAPACITY: usize = 1 << 20;

/// As the stdin thread's.
const STACK: usize = 128 << 10;

/// The ring and the thread that empties it.
#[derive(Debug)]
pub(crate) struct Stdout(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The writer sleeps here.
    filled: Condvar,
    /// The transmit queue sleeps here: a signal interrupts it, unlike a Condvar.
    room: EventFd,
    /// Main sleeps here, at the end.
    flushed: EventFd,
}

#[derive(Debug)]
struct State {
    ring: VecDeque<u8>,
    /// The writer is in write(2), with bytes that are no longer in the ring.
    writing: bool,
    writer_sleeps: bool,
    sinks_waiting: usize,
    /// For how long sinks have waited since the reader last took something.
    waited: Duration,
    /// Bytes lost since that was last said.
    dropped: u64,
    /// Nobody will ever read stdout again.
    closed: bool,
    finishing: bool,
    /// The guest has printed something.
    used: bool,
    /// What has been set on the terminal, if stdout is one.
    screen: Option<Screen>,
}

impl Stdout {
    /// Start the writer.
    ///
    /// # Errors
    /// When the host has no descriptor or thread to spare.
    pub(crate) fn start() -> Result<Self> {
        Self::writing(io::stdout().as_fd().try_clone_to_owned().context("duplicating stdout")?)
    }

    /// Whether the guest has printed anything at all.
    pub(crate) fn is_used(&self) -> bool {
        self.0.lock().used
    }

    fn writing(output: OwnedFd) -> Result<Self> {
        let event = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let state = State {
            // The host gives pages as they are first used.
            ring: VecDeque::with_capacity(CAPACITY),
            writing: false,
            writer_sleeps: false,
            sinks_waiting: 0,
            waited: Duration::ZERO,
            dropped: 0,
            closed: false,
            finishing: false,
            used: false,
            screen: output.is_terminal().then(Screen::default),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            filled: Condvar::new(),
            room: event().context("creating an event of stdout")?,
            flushed: event().context("creating an event of stdout")?,
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("stdout".into())
            .stack_size(STACK)
            .spawn(move || writer::write_out(&theirs, &output))
            .context("starting the stdout thread")?;
        Ok(Self(shared))
    }

    /// A way into the ring.
    pub(crate) fn sink(&self) -> Sink {
        Sink::new(Arc::clone(&self.0))
    }

    /// Wait until all output is written, at most for `bound`. To be called when
    /// the queue threads have ended: with a bound before the terminal is left,
    /// so that it gets the last bytes raw; then, with none, once ^C is a signal
    /// again. That signal or another one ends the wait and is the answer. Last
    /// of all, the terminal's screen is given back.
    pub(crate) fn finish(&self, signals: &Signals, bound: Option<Duration>) -> Option<Ending> {
        let until = bound.and_then(|bound| Instant::now().checked_add(bound));
        let mut state = self.0.lock();
        state.finishing = true;
        let mut ending = None;
        while !state.is_flushed() || self.0.give_screen_back(&mut state) {
            drop(state);
            match signals.sleep(self.0.flushed.as_fd(), until) {
                Ok(Wake::Ready) => drop(self.0.flushed.read()),
                Ok(Wake::Signal(Signal::SIGTSTP)) => signals.stop(None),
                Ok(Wake::Signal(Signal::SIGCONT | Signal::SIGWINCH)) => {}
                Ok(Wake::Signal(signal)) => ending = Some(Ending::Signal(signal as i32)),
                Ok(Wake::TimedOut) | Err(_) => return None,
            }
            if ending.is_some() {
                return ending;
            }
            state = self.0.lock();
        }
        None
    }
}

impl Drop for Stdout {
    /// Say what was lost. The writer may be blocked for ever and is left alone:
    /// the process is about to end.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let unread = if state.closed { 0 } else { state.ring.len() };
        let lost = std::mem::take(&mut state.dropped).saturating_add(unread as u64);
        drop(state);
        say_lost(lost);
    }
}

fn say_lost(bytes: u64) {
    if bytes > 0 {
        log::warn!("{bytes} bytes of the guest's output are lost: nobody read stdout");
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Put what takes the guest's settings of the screen back into the ring;
    /// false if there is nothing to take back.
    fn give_screen_back(&self, state: &mut State) -> bool {
        let undo = state.screen.as_mut().map(Screen::undo).unwrap_or_default();
        if undo.is_empty() || state.closed {
            return false;
        }
        state.ring.extend(undo);
        self.filled.notify_one();
        true
    }
}

impl State {
    fn room(&self) -> usize {
        CAPACITY.saturating_sub(self.ring.len())
    }

    fn is_flushed(&self) -> bool {
        self.closed || (self.ring.is_empty() && !self.writing)
    }
}
