//! What a queue's thread counts as it goes. Each count has one writer at a time, the
//! thread itself, and is therefore a load and a store, and no locked instruction;
//! anybody may read it at any time. [`crate::observer::Observer`] counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows. One thread adds to it, others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// So many more. For its one writer: two at once would lose some.
    pub fn add(&self, more: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(more);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// How many there have been.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one queue. They outlive its threads, resets and the guest's reboots.
/// The alignment keeps other threads' data off the cache lines that are written here.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct QueueStats {
    /// Reads of the doorbell that returned: the guest woke the thread up.
    pub kicks: Count,
    /// Requests that were served and went back to the driver. Of a queue that gathers
    /// several chains for one frame, it is the frames.
    pub requests: Count,
    /// Bytes that the driver handed over in them, headers included.
    pub from_guest: Count,
    /// Bytes that were written for the driver, as the used ring tells it.
    pub to_guest: Count,
    /// Interrupts that were sent.
    pub interrupts: Count,
    /// Times that there was news for the driver and it had not asked for an interrupt:
    /// by its used_event, by NO_INTERRUPT, or by having chosen no vector.
    pub suppressed: Count,
    /// Requests that were answered with an error, frames that were lost, and times that
    /// the guest broke the protocol of this queue.
    pub errors: Count,
}

impl QueueStats {
    /// All counts, by name. Each is read by itself: they may be a request apart.
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
