//! The counts of a guest's threads since the launcher's start, for the verb `stats`.

use std::sync::Arc;
use std::time::Instant;

use devices::number::low_u64;
use serde_json::{Value, json};

use crate::observers::Observers;

/// The counts, and when counting began.
#[derive(Debug)]
pub(super) struct Counts {
    observers: Arc<Observers>,
    since: Instant,
}

impl Counts {
    /// The counts of these observers, from now on: no thread of the guest runs yet.
    pub(super) fn new(observers: Arc<Observers>) -> Self {
        Self { observers, since: Instant::now() }
    }

    /// The answer to `stats`. docs/control.md describes each field.
    pub(super) fn answer(&self) -> Value {
        let milliseconds = low_u64(self.since.elapsed().as_millis());
        let [queues, vcpus] = self.observers.counts();
        json!({ "milliseconds": milliseconds, "queues": queues, "vcpus": vcpus })
    }
}
