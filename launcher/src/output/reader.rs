//! The emptying half of a console's [`super::Output`]: somebody who reads, at his
//! own pace.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Place, Role, Shared, State};

/// What is taken at once: as much as a pipe holds.
const CHUNK: usize = 1 << 16;

/// One who reads. He has left when it is dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    id: u64,
}

impl Reader {
    pub(super) fn new(shared: &Arc<Shared>, role: Role) -> Self {
        let state = &mut *shared.lock();
        let id = state.next_reader;
        state.next_reader += 1;
        let (at, lost) = match role {
            Role::Follower => (state.start(), 0),
            _ => (state.read.max(state.start()), std::mem::take(&mut state.lost)),
        };
        let place = Place { reader: id, role, at, waited: Duration::ZERO, lost, dismissed: false };
        state.readers.push(place);
        Self { id, shared: Arc::clone(shared) }
    }

    /// Sleep until the guest has printed something, and take the beginning of it
    /// into `chunk`. False if all is taken and no more will come, or it is to leave.
    pub(crate) fn take(&mut self, chunk: &mut Vec<u8>) -> bool {
        chunk.clear();
        let mut state = self.shared.lock();
        loop {
            let (start, end, finished) = (state.start(), state.end, state.finished);
            let Some(place) = state.place(self.id) else { return false };
            if place.dismissed {
                return false;
            }
            let skip = usize::try_from(place.at.saturating_sub(start)).unwrap_or(usize::MAX);
            if place.at < end {
                state.copy(skip, chunk);
                self.advance(&mut state, chunk.len());
                return true;
            }
            if finished {
                return false;
            }
            state.readers_asleep += 1;
            state = self.shared.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.readers_asleep -= 1;
        }
    }

    fn advance(&self, state: &mut State, taken: usize) {
        let Some(place) = state.place(self.id) else { return };
        place.at = place.at.saturating_add(taken as u64);
        let (at, role) = (place.at, place.role);
        if role != Role::Follower {
            state.read = state.read.max(at);
        }
        if state.sinks_waiting > 0 {
            let _ = self.shared.room.write(1);
        }
    }

    /// For [`super::Output::dismiss`].
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether it only looks.
    pub(crate) fn is_follower(&self) -> bool {
        self.shared.lock().place(self.id).is_some_and(|place| place.role == Role::Follower)
    }

    /// What there is to take now.
    pub(crate) fn backlog(&self) -> u64 {
        let mut state = self.shared.lock();
        let end = state.end;
        state.place(self.id).map_or(0, |place| end.saturating_sub(place.at))
    }

    /// Some of what was taken has been read by whoever it was for, who therefore is
    /// there. How much was lost to him before that.
    pub(crate) fn progress(&mut self) -> u64 {
        let mut state = self.shared.lock();
        let Some(place) = state.place(self.id) else { return 0 };
        place.waited = Duration::ZERO;
        std::mem::take(&mut place.lost)
    }
}

impl State {
    /// Copy the ring from there on, as far as a chunk goes.
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
        self.shared.lock().readers.retain(|place| place.reader != self.id);
        // Neither can fail: the counters are far from their limits.
        let _ = self.shared.room.write(1);
        let _ = self.shared.left.write(1);
    }
}
