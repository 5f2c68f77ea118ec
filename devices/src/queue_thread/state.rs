//! A queue that a thread serves, in a snapshot. The thread has stopped at a request boundary.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{QueueThread, ServedQueue};
use crate::kick;
use crate::queue::{DriverReadiness, VirtqueueState};
use crate::state::{StateError, ensure};
use crate::stop::StopFlag;

/// The state of a [`ServedQueue`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedQueueState {
    queue: VirtqueueState,
    readiness: DriverReadiness,
    /// What the service keeps; null if that is nothing.
    service: Value,
}

impl ServedQueueState {
    /// Whether the driver has an empty buffer and must not be interrupted for it: see
    /// [`crate::queue::Virtqueue::probe_driver`].
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(self.readiness, DriverReadiness::Probed { patient: true, .. })
    }
}

impl ServedQueue {
    /// The state of the queue and of its service.
    ///
    /// # Errors
    /// When the service cannot express its state.
    fn state(&self) -> Result<ServedQueueState, StateError> {
        let Self { name: _, memory: _, queue, service, owner: _, readiness } = self;
        let (queue, service) = (queue.state(), service.state()?);
        Ok(ServedQueueState { queue, readiness: *readiness, service })
    }

    /// Continues a new queue and a new service from a state.
    ///
    /// # Errors
    /// When the queue or the service cannot have such a state.
    pub fn restore(&mut self, state: &ServedQueueState) -> Result<(), StateError> {
        let ServedQueueState { queue, readiness, service } = state;
        self.queue.restore(queue)?;
        self.readiness = *readiness;
        self.service.restore(service)
    }
}

impl QueueThread {
    /// A paused thread: [`Self::resume`] starts it.
    #[must_use]
    pub fn paused(queue: Box<ServedQueue>) -> Self {
        kick::install();
        let stop = Arc::new(StopFlag::stopped());
        Self { name: queue.name.clone(), stop, thread: None, idle: Some(queue) }
    }

    /// The state of the queue of a paused thread. None if the thread has ended for another
    /// reason, which it has reported to its owner.
    ///
    /// # Errors
    /// When the thread has not stopped.
    pub fn state(&mut self) -> Result<Option<ServedQueueState>, StateError> {
        ensure(self.has_ended(), || format!("thread {} has not stopped", self.name))?;
        self.take_back();
        self.idle.as_ref().map(|queue| queue.state()).transpose()
    }
}
