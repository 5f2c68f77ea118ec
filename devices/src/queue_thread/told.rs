//! What a queue thread is told, and whether it has obeyed. Whoever tells it to stop
//! may change his mind (a pause that another thread holds up), and then both sides
//! must agree on whether it goes on: one of them settles it, and the other sees how.

use std::sync::atomic::{AtomicU8, Ordering};

const GO_ON: u8 = 0;
const STOP: u8 = 1;
const STOPPED: u8 = 2;

/// Shared by a queue thread and whoever has it.
#[derive(Debug, Default)]
pub struct Told(AtomicU8);

impl Told {
    /// Stop at the next request boundary.
    pub(crate) fn stop(&self) {
        self.change(GO_ON, STOP);
    }

    /// Whether the thread is to stop.
    pub(crate) fn is_to_stop(&self) -> bool {
        self.0.load(Ordering::Acquire) == STOP
    }

    /// The thread has come to a boundary. True if it is to stop, which is then settled.
    pub(super) fn obey(&self) -> bool {
        self.change(STOP, STOPPED)
    }

    /// Never mind, go on. True if it has stopped all the same.
    pub(super) fn take_back(&self) -> bool {
        !self.change(STOP, GO_ON) && self.0.load(Ordering::Acquire) == STOPPED
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_settles_it() {
        let told = Told::default();
        assert!(!told.is_to_stop() && !told.obey() && !told.take_back());
        told.stop();
        assert!(told.is_to_stop() && !told.take_back());
        assert!(!told.obey(), "it had been taken back");
        told.stop();
        assert!(told.obey() && told.take_back());
        told.stop();
        assert!(!told.is_to_stop() && told.take_back(), "it cannot stop twice");
    }
}
