//! The sinks of a console's [`super::OutputRing`]. The console's transmit queue uses one, and waits
//! for a slow reader. The early console's port on a vCPU thread uses another, and never waits.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{PATIENCE, ReaderPosition, RingState, SharedRing};

/// The longest single wait. Waiting is counted in such steps, so that an hour in which the whole
/// launcher was stopped counts as one step.
const STEP: Duration = Duration::from_millis(500);

/// A sink that fills the ring. As `io::Write`, it waits for readers that read. Every
/// wait ends with `Interrupted` when a signal arrives, so use `write`, not
/// `write_all`, in a thread that must stop at a signal.
#[derive(Debug, Clone)]
pub struct Sink(Arc<SharedRing>);

impl Sink {
    pub(super) fn new(shared: Arc<SharedRing>) -> Self {
        Self(shared)
    }

    /// Put all of `bytes` into the ring at once. When it is full, the oldest
    /// output is lost.
    pub fn write_lossy(&self, bytes: &[u8]) {
        self.fill(self.0.lock(), bytes);
    }

    fn fill(&self, mut state: MutexGuard<'_, RingState>, bytes: &[u8]) {
        state.print(bytes);
        if state.readers_asleep > 0 {
            drop(state);
            self.0.filled.notify_all();
        }
    }

    /// Sleep until a reader took something, a moment has passed, or a signal
    /// arrives.
    fn wait_for_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, RingState>,
    ) -> io::Result<MutexGuard<'a, RingState>> {
        state.sinks_waiting += 1;
        drop(state);
        let start = Instant::now();
        let timeout = PollTimeout::try_from(STEP).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.room.as_fd(), PollFlags::POLLIN)];
        let woken = poll(&mut fds, timeout);
        let mut state = self.0.lock();
        state.sinks_waiting -= 1;
        if matches!(woken, Ok(1)) {
            // Another sink may have read the event first.
            let _ = self.0.room.read();
        } else {
            let (end, waited) = (state.end, start.elapsed().min(STEP));
            let capacity = state.capacity as u64;
            let full = |position: &&mut ReaderPosition| end.saturating_sub(position.at) >= capacity;
            for position in state.readers.iter_mut().filter(full) {
                position.waited = position.waited.saturating_add(waited).min(PATIENCE);
            }
        }
        woken?;
        Ok(state)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        while state.room() == 0 {
            state = self.wait_for_room(state)?;
        }
        let bytes = bytes.get(..state.room()).unwrap_or(bytes);
        self.fill(state, bytes);
        Ok(bytes.len())
    }

    /// Does nothing: a sink has no buffer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes into rings and never waits: if a ring is full, the oldest output is lost. For vCPU
/// threads.
#[derive(Debug)]
pub struct LossyWriter(Vec<Sink>);

impl LossyWriter {
    /// A writer into all of these rings.
    #[must_use]
    pub fn new(sinks: Vec<Sink>) -> Self {
        Self(sinks)
    }
}

impl Write for LossyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.iter().for_each(|sink| sink.write_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
