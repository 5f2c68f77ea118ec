//! What is seen of a queue's thread: it counts what it does and, if there is a lane for it,
//! notes when. [`crate::interrupt::Machine::observer`] supplies it, and other threads read it.
//! Without a lane nobody asks the time; a count is a load and a store.

use std::sync::Arc;

use crate::request::Request;
use crate::stats::QueueStats;
use crate::trace::{Lane, Word};

/// The events in the lane of a queue's thread, in the order of the constants below.
pub const WORDS: &[Word] = &[
    Word::new("kick", ["", ""]),
    Word::new("serve", ["", ""]),
    Word::new("request", ["from_guest", "to_guest"]),
    Word::new("interrupt", ["", ""]),
    Word::new("no interrupt", ["", ""]),
];

const KICK: u8 = 0;
const SERVE: u8 = 1;
const REQUEST: u8 = 2;
const INTERRUPT: u8 = 3;
const NO_INTERRUPT: u8 = 4;

/// Who watches one queue; it outlives its threads.
#[derive(Debug, Default)]
pub struct Observer {
    /// What it counts.
    pub stats: QueueStats,
    lane: Option<Arc<Lane>>,
}

/// When something began, if anybody wants to know.
pub(crate) type Begin = Option<u64>;

impl Observer {
    /// One that also traces, if there is a lane with [`WORDS`].
    #[must_use]
    pub fn new(lane: Option<Arc<Lane>>) -> Self {
        Self { stats: QueueStats::default(), lane }
    }

    /// The calling thread is the queue's from now on.
    pub(crate) fn begin_thread(&self) {
        if let Some(lane) = &self.lane {
            lane.begin_thread();
        }
    }

    fn begin(&self) -> Begin {
        self.lane.as_ref().map(|_| Lane::now())
    }

    /// The doorbell has rung, and its read returned.
    pub(crate) fn kicked(&self) {
        self.stats.kicks.add(1);
        self.instant(KICK);
    }

    /// A request is about to go back to the driver, who does not see it before it is
    /// counted. The bytes that it had, both ways.
    pub(crate) fn used(&self, request: &Request<'_>) -> [u64; 2] {
        let [from_guest, to_guest] = request.moved();
        self.stats.requests.add(1);
        self.stats.from_guest.add(from_guest);
        self.stats.to_guest.add(to_guest);
        [from_guest, to_guest]
    }

    /// Count an interrupt that is about to be sent. Returns when that began.
    pub(crate) fn interrupt_begins(&self) -> Begin {
        self.stats.interrupts.add(1);
        self.begin()
    }

    /// Note an interrupt that has been sent.
    pub(crate) fn interrupt_sent(&self, begin: Begin) {
        self.slice(INTERRUPT, begin, [0, 0]);
    }

    /// There is news for the driver, and it has not asked for an interrupt.
    pub(crate) fn suppressed(&self) {
        self.stats.suppressed.add(1);
        self.instant(NO_INTERRUPT);
    }

    /// The guest broke the protocol.
    pub(crate) fn broken(&self) {
        self.stats.errors.add(1);
    }

    fn instant(&self, word: u8) {
        if let Some(lane) = &self.lane {
            lane.instant(word, [0, 0]);
        }
    }

    fn slice(&self, word: u8, begin: Begin, numbers: [u64; 2]) {
        if let (Some(lane), Some(begin)) = (&self.lane, begin) {
            lane.slice(word, begin, numbers);
        }
    }
}

/// Times a request, and each call of the service for it. Without a lane it keeps no times.
#[derive(Debug)]
pub(crate) struct Timing {
    observer: Arc<Observer>,
    /// When the service was first called for the request at hand.
    request: Begin,
    /// When the service was last called.
    call: Begin,
}

impl Timing {
    /// Timing of the requests of one queue, before the first of them.
    pub(crate) fn new(observer: Arc<Observer>) -> Self {
        Self { observer, request: None, call: None }
    }

    /// The service is about to be called, for the whole of a request or for a part of it.
    pub(crate) fn call_begins(&mut self) {
        self.call = self.observer.begin();
        self.request = self.request.or(self.call);
    }

    /// The service has returned.
    pub(crate) fn call_ended(&mut self, request: &mut Request<'_>) {
        match request.take_errors() {
            0 => {}
            errors => self.observer.stats.errors.add(errors),
        }
        self.observer.slice(SERVE, self.call, [0, 0]);
    }

    /// The request has gone back to the driver; `moved` is what [`Observer::used`] returned.
    pub(crate) fn request_ended(&mut self, moved: [u64; 2]) {
        self.observer.slice(REQUEST, self.request.take(), moved);
    }
}

#[cfg(test)]
mod tests;
