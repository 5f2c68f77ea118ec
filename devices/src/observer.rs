//! The observer of a queue: its thread counts there what it does and, if it is traced,
//! notes when. [`crate::interrupt::Machine::observer`] supplies the observer, and other
//! threads read it. A thread that is not traced never asks the time; a count is a load
//! and a store.

use std::sync::Arc;

use crate::request::Request;
use crate::stats::QueueStats;
use crate::trace::{EventKind, TraceRing};

/// The kinds of events that a queue's thread notes, in the order of the constants below.
pub const EVENT_KINDS: &[EventKind] = &[
    EventKind::new("kick", ["", ""]),
    EventKind::new("serve", ["", ""]),
    EventKind::new("request", ["from_guest", "to_guest"]),
    EventKind::new("interrupt", ["", ""]),
    EventKind::new("no interrupt", ["", ""]),
];

const KICK: u8 = 0;
const SERVE: u8 = 1;
const REQUEST: u8 = 2;
const INTERRUPT: u8 = 3;
const NO_INTERRUPT: u8 = 4;

/// The counts and the trace of one queue. An observer outlives the queue's threads.
#[derive(Debug, Default)]
pub struct Observer {
    /// The counts.
    pub stats: QueueStats,
    trace: Option<Arc<TraceRing>>,
}

/// The time when something began; None if the queue is not traced.
pub(crate) type Begin = Option<u64>;

impl Observer {
    /// An observer that also traces, if there is a ring made with [`EVENT_KINDS`].
    #[must_use]
    pub fn new(trace: Option<Arc<TraceRing>>) -> Self {
        Self { stats: QueueStats::default(), trace }
    }

    /// Notes that the calling thread serves the queue from now on.
    pub(crate) fn begin_thread(&self) {
        if let Some(trace) = &self.trace {
            trace.begin_thread();
        }
    }

    fn begin(&self) -> Begin {
        self.trace.as_ref().map(|_| TraceRing::now())
    }

    /// Counts a read of the doorbell that has returned.
    pub(crate) fn kicked(&self) {
        self.stats.kicks.add(1);
        self.instant(KICK);
    }

    /// Counts a request before it goes back to the driver. Returns the bytes that it moved:
    /// from the guest and to the guest.
    pub(crate) fn used(&self, request: &Request<'_>) -> [u64; 2] {
        let [from_guest, to_guest] = request.moved();
        self.stats.requests.add(1);
        self.stats.from_guest.add(from_guest);
        self.stats.to_guest.add(to_guest);
        [from_guest, to_guest]
    }

    /// Counts an interrupt before it is sent. Returns when sending began.
    pub(crate) fn interrupt_begins(&self) -> Begin {
        self.stats.interrupts.add(1);
        self.begin()
    }

    /// Notes an interrupt that has been sent.
    pub(crate) fn interrupt_sent(&self, begin: Begin) {
        self.slice(INTERRUPT, begin, [0, 0]);
    }

    /// Counts an interrupt that the driver has not asked for, and that is not sent.
    pub(crate) fn suppressed(&self) {
        self.stats.suppressed.add(1);
        self.instant(NO_INTERRUPT);
    }

    /// Counts a violation of the protocol by the guest.
    pub(crate) fn broken(&self) {
        self.stats.errors.add(1);
    }

    fn instant(&self, kind: u8) {
        if let Some(trace) = &self.trace {
            trace.instant(kind, [0, 0]);
        }
    }

    fn slice(&self, kind: u8, begin: Begin, numbers: [u64; 2]) {
        if let (Some(trace), Some(begin)) = (&self.trace, begin) {
            trace.slice(kind, begin, numbers);
        }
    }
}

/// Times a request, and each call of the service for it, if the queue is traced.
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

    /// Notes that the service is about to be called, for a whole request or a part of it.
    pub(crate) fn call_begins(&mut self) {
        self.call = self.observer.begin();
        self.request = self.request.or(self.call);
    }

    /// Notes that the service has returned, and counts its errors.
    pub(crate) fn call_ended(&mut self, request: &mut Request<'_>) {
        match request.take_errors() {
            0 => {}
            errors => self.observer.stats.errors.add(errors),
        }
        self.observer.slice(SERVE, self.call, [0, 0]);
    }

    /// Notes that the request has gone back to the driver; `moved` is what [`Observer::used`] returned.
    pub(crate) fn request_ended(&mut self, moved: [u64; 2]) {
        self.observer.slice(REQUEST, self.request.take(), moved);
    }
}

#[cfg(test)]
mod tests;
