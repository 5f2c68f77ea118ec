//! The counts of a queue, which [`crate::observer::Observer`] increments. A count has one
//! writer at a time, the queue's thread, so that an increment is a load and a store
//! without a locked instruction. Any thread may read a count at any time.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows. One thread adds to it, others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to the count. Only one thread may do this at a time: two would lose increments.
    pub fn add(&self, more: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(more);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// The value of the count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one queue. They outlive its threads, resets and the guest's reboots. The
/// alignment keeps other data off the cache lines that the queue's thread writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct QueueStats {
    /// Reads of the doorbell that returned: the guest woke the thread up.
    pub kicks: Count,
    /// Requests that were served and went back to the driver. A frame in several chains
    /// counts as one request.
    pub requests: Count,
    /// Bytes of these requests from the driver, headers included.
    pub from_guest: Count,
    /// Bytes that were written for the driver, as in the used ring.
    pub to_guest: Count,
    /// Interrupts that were sent.
    pub interrupts: Count,
    /// Interrupts that were not sent although there were used entries: because of
    /// used_event or NO_INTERRUPT, or because the driver chose no vector.
    pub suppressed: Count,
    /// Requests that were answered with an error, frames that were lost, and violations of
    /// the queue's protocol by the guest.
    pub errors: Count,
}

impl QueueStats {
    /// All counts, by name. Each is read separately, so they may differ by a request.
    pub fn fields(&self) -> [(&'static str, u64); 7] {
        [
            ("kicks", self.kicks.get()),
            ("requests", self.requests.get()),
            ("from_guest", self.from_guest.get()),
            ("to_guest", self.to_guest.get()),
            ("interrupts", self.interrupts.get()),
            ("suppressed", self.suppressed.get()),
            ("errors", self.errors.get()),
        ]
    }
}
