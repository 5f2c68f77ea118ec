//! The filling half of stdout's ring: used by the console's transmit queue,
//! which waits for a slow reader, and by the early console's port on a vCPU
//! thread, which waits for nobody. What becomes of the bytes: [`super::writer`].

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{CAPACITY, Shared, State};

/// A reader that takes nothing for this long, with the ring full, counts as
/// absent: until it reads again, the oldest output makes room for the newest.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waiting is counted in steps, so that an hour in which the whole launcher was
/// stopped counts as one.
const STEP: Duration = Duration::from_millis(500);

/// A way into the ring. As `io::Write`, it waits for a healthy reader; every
/// wait ends with `Interrupted` when a signal arrives, so use `write`, not
/// `write_all`, in a thread that must stop at a signal.
#[derive(Debug, Clone)]
pub(crate) struct Sink(Arc<Shared>);

impl Sink {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Put all of `bytes` into the ring at once. When it is full, the oldest
    /// output is lost.
    pub(crate) fn write_lossy(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        state.make_room(bytes.len());
        let kept = bytes.get(bytes.len().saturating_sub(CAPACITY)..).unwrap_or_default();
        self.fill(state, kept);
    }

    fn fill(&self, mut state: MutexGuard<'_, State>, bytes: &[u8]) {
        state.used = true;
        if state.closed {
            return;
        }
        state.ring.extend(bytes);
        if std::mem::take(&mut state.writer_sleeps) {
            drop(state);
            self.0.filled.notify_one();
        }
    }

    /// Sleep until the writer took something out, a moment has passed, or a
    /// signal arrives.
    fn wait_for_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> io::Result<MutexGuard<'a, State>> {
        state.sinks_waiting += 1;
        drop(state);
        let start = Instant::now();
        let timeout = PollTimeout::try_from(STEP).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(self.0.room.as_fd(), PollFlags::POLLIN)];
        let woken = poll(&mut fds, timeout);
        let mut state = self.0.lock();
        state.sinks_waiting -= 1;
        if matches!(woken, Ok(1)) {
            // Another sink may have emptied it before us.
            let _ = self.0.room.read();
        } else {
            state.waited += start.elapsed().min(STEP);
        }
        woken?;
        Ok(state)
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        while !state.closed && state.room() == 0 {
            if state.waited >= PATIENCE {
                state.make_room(bytes.len().min(CAPACITY));
            } else {
                state = self.wait_for_room(state)?;
            }
        }
        let room = if state.closed { bytes.len() } else { state.room() };
        let bytes = bytes.get(..room).unwrap_or(bytes);
        self.fill(state, bytes);
        Ok(bytes.len())
    }

    /// Nothing is held back here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    /// Let go of the oldest output until `wanted` bytes have room.
    fn make_room(&mut self, wanted: usize) {
        let excess = wanted.saturating_sub(self.room());
        // More than the ring holds: its own beginning is lost with the rest.
        let lost = if self.closed { 0 } else { excess };
        self.ring.drain(..excess.min(self.ring.len()));
        self.dropped = self.dropped.saturating_add(lost as u64);
    }
}
