//! The readers of a console's [`super::OutputRing`]. Each reads at its own pace.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use devices::mutex::{wait, wait_timeout};
use devices::number::index;

use super::{ReaderPosition, ReaderRole, RingState, SharedRing};

/// The number of bytes that a reader takes at once: as many as a pipe holds.
const CHUNK: usize = 1 << 16;

/// A reader of an output ring. Dropping it removes its position.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<SharedRing>,
    id: u64,
}

/// The result of waiting for output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The reader took bytes.
    Some,
    /// No bytes came in time.
    None,
    /// The output has ended, or the reader was dismissed.
    Last,
}

impl Reader {
    pub(super) fn new(shared: &Arc<SharedRing>, role: ReaderRole) -> Self {
        let state = &mut *shared.lock();
        let id = state.next_reader;
        state.next_reader += 1;
        let (at, lost) = match role {
            ReaderRole::Follower | ReaderRole::Witness => (state.start(), 0),
            _ => (state.read.max(state.start()), std::mem::take(&mut state.lost)),
        };
        let position =
            ReaderPosition { reader: id, role, at, waited: Duration::ZERO, lost, dismissed: false };
        state.readers.push(position);
        Self { id, shared: Arc::clone(shared) }
    }

    /// Sleep until bytes come, and take the first of them into `chunk`. Returns false if the output
    /// has ended and all is taken, or the reader has to leave.
    pub fn take(&mut self, chunk: &mut Vec<u8>) -> bool {
        self.take_until(chunk, None) == Taken::Some
    }

    /// Sleep until bytes come, but not after `until`, and take the first of them into `chunk`.
    pub fn take_until(&mut self, chunk: &mut Vec<u8>, until: Option<Instant>) -> Taken {
        chunk.clear();
        let mut state = self.shared.lock();
        loop {
            let (start, end) = (state.start(), state.end);
            let (finished, is_held) = (state.finished, state.held);
            let Some(position) = state.position(self.id) else { return Taken::Last };
            if position.dismissed {
                return Taken::Last;
            }
            // A witness does not consume what it reads: the snapshot has it as well.
            let held = is_held && !position.role.only_looks();
            let skip = index(position.at.saturating_sub(start));
            if position.at < end && !held {
                state.copy(skip, chunk);
                self.advance(&mut state, chunk.len());
                return Taken::Some;
            }
            if finished && !held {
                return Taken::Last;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Taken::None;
            }
            state.readers_asleep += 1;
            state = self.sleep(state, left);
            state.readers_asleep -= 1;
        }
    }

    fn sleep<'a>(
        &'a self,
        state: MutexGuard<'a, RingState>,
        time: Option<Duration>,
    ) -> MutexGuard<'a, RingState> {
        let filled = &self.shared.filled;
        match time {
            None => wait(filled, state),
            Some(time) => wait_timeout(filled, state, time),
        }
    }

    fn advance(&self, state: &mut RingState, taken: usize) {
        let Some(position) = state.position(self.id) else { return };
        position.at = position.at.saturating_add(taken as u64);
        let (at, role) = (position.at, position.role);
        if !role.only_looks() {
            state.read = state.read.max(at);
        }
        if state.sinks_waiting > 0 {
            let _ = self.shared.room.write(1);
        }
    }

    /// The number of this reader, for [`super::OutputRing::dismiss`].
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether this reader is a [`ReaderRole::Follower`].
    pub fn is_follower(&self) -> bool {
        self.shared
            .lock()
            .position(self.id)
            .is_some_and(|position| position.role == ReaderRole::Follower)
    }

    /// The position of this reader, in bytes since the first that was printed.
    pub fn position(&self) -> u64 {
        self.shared.lock().position(self.id).map_or(0, |position| position.at)
    }

    /// The number of bytes that this reader can take now.
    pub fn backlog(&self) -> u64 {
        let mut state = self.shared.lock();
        let end = state.end;
        state.position(self.id).map_or(0, |position| end.saturating_sub(position.at))
    }

    /// Record that the client has read some of the taken bytes, so that it counts as present.
    /// Returns the number of bytes that it lost before those.
    pub fn progress(&mut self) -> u64 {
        let mut state = self.shared.lock();
        let Some(position) = state.position(self.id) else { return 0 };
        position.waited = Duration::ZERO;
        std::mem::take(&mut position.lost)
    }
}

impl RingState {
    /// Copy a chunk of the ring, without the first `skip` bytes.
    fn copy(&self, skip: usize, chunk: &mut Vec<u8>) {
        let (first, second) = self.ring.as_slices();
        let parts = match skip.checked_sub(first.len()) {
            None => [first.get(skip..).unwrap_or_default(), second],
            Some(skip) => [second.get(skip..).unwrap_or_default(), &[]],
        };
        for part in parts {
            let wanted = part.len().min(CHUNK - chunk.len());
            chunk.extend_from_slice(part.get(..wanted).unwrap_or_default());
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.lock().readers.retain(|position| position.reader != self.id);
        // Neither can fail: the counters are far from their limits.
        let _ = self.shared.room.write(1);
        let _ = self.shared.left.write(1);
    }
}
