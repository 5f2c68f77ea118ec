//! What a guest's threads have counted (`stats`), from the launcher's start on.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::observers::Observers;

/// The counts, and since when they count.
#[derive(Debug)]
pub(super) struct Counts {
    observers: Arc<Observers>,
    since: Instant,
}

impl Counts {
    /// Of these, from now on: nothing runs yet.
    pub(super) fn new(observers: Arc<Observers>) -> Self {
        Self { observers, since: Instant::now() }
    }

    /// Each field is described in docs/control.md.
    pub(super) fn answer(&self) -> Value {
        let milliseconds = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let [queues, vcpus] = self.observers.counts();
        json!({ "milliseconds": milliseconds, "queues": queues, "vcpus": vcpus })
    }
}
