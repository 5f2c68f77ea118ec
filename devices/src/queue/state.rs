//! A running virtqueue in a snapshot: how far it has been served. Its addresses are in the
//! registers, which do not change while it runs.

use serde::{Deserialize, Serialize};

use super::{QueuePosition, Virtqueue};
use crate::state::{StateError, ensure};

/// The state of a [`Virtqueue`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtqueueState {
    position: QueuePosition,
    /// Used entries up to this index have been signalled, or needed no interrupt.
    signalled: u16,
}

impl Virtqueue {
    /// The state of the queue at a request boundary. What the guest has offered since then
    /// is in its memory.
    pub(crate) fn state(&self) -> VirtqueueState {
        let Self {
            layout: _,
            position,
            signalled,
            indirect: _,
            event_idx: _,
            doorbell: _,
            interrupt: _,
            observer: _,
        } = self;
        VirtqueueState { position: *position, signalled: *signalled }
    }

    /// Continues a new queue from a request boundary.
    ///
    /// # Errors
    /// When no queue of this size has such a boundary: each chain that was taken has been
    /// used, and less than a whole ring of used entries has not been signalled.
    pub(crate) fn restore(&mut self, state: &VirtqueueState) -> Result<(), StateError> {
        let VirtqueueState { position, signalled } = *state;
        let QueuePosition { next_avail, next_used } = position;
        ensure(next_avail == next_used, || {
            format!("{next_avail} chains were taken and {next_used} used: not a request boundary")
        })?;
        ensure(next_used.wrapping_sub(signalled) < self.layout.size, || {
            let size = self.layout.size;
            format!("entry {next_used} used and {signalled} signalled, on a queue of {size}")
        })?;
        (self.position, self.signalled) = (position, signalled);
        Ok(())
    }
}
