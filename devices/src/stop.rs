//! The request to stop a queue thread, and whether the thread has obeyed it. The request may be
//! taken back, for example when a pause fails because another thread does not stop. Both sides
//! must then agree on whether the thread continues: one of them decides, and the other sees the
//! decision.

use std::sync::atomic::{AtomicU8, Ordering};

const RUN: u8 = 0;
const STOP: u8 = 1;
const STOPPED: u8 = 2;

/// A request to stop. Shared by a queue thread and its owner.
#[derive(Debug, Default)]
pub struct StopFlag(AtomicU8);

impl StopFlag {
    /// The flag of a thread that has stopped.
    pub(crate) fn stopped() -> Self {
        Self(AtomicU8::new(STOPPED))
    }

    /// Ask the thread to stop at its next request boundary.
    pub(crate) fn set(&self) {
        self.change(RUN, STOP);
    }

    /// Whether the thread is to stop.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) == STOP
    }

    /// The thread has come to a request boundary. Returns true if it must stop; from then on the
    /// request cannot be taken back.
    pub(crate) fn obey(&self) -> bool {
        self.change(STOP, STOPPED)
    }

    /// Take the request back. Returns true if the thread has already stopped.
    pub(crate) fn take_back(&self) -> bool {
        !self.change(STOP, RUN) && self.0.load(Ordering::Acquire) == STOPPED
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_side_decides_about_a_stop() {
        let stop = StopFlag::default();
        assert!(!stop.is_set() && !stop.obey() && !stop.take_back());
        stop.set();
        assert!(stop.is_set() && !stop.take_back());
        assert!(!stop.obey(), "it had been taken back");
        stop.set();
        assert!(stop.obey() && stop.take_back());
        stop.set();
        assert!(!stop.is_set() && stop.take_back(), "it cannot stop twice");
    }
}
