//! Traces of what a thread did, and when: a ring of events that the thread writes and one
//! other thread reads ([`TraceRing::drain`]). Neither waits for the other, and writing an
//! event is a few stores to memory that is allocated already. If the reader is late, new
//! events are lost and counted. A ring outlives its thread, and the next thread of that
//! name continues it. Queue threads and the launcher's vCPU threads write events; the
//! launcher makes a file of them.
//!
//! Times are nanoseconds of CLOCK_MONOTONIC, which a process reads without a system
//! call (vDSO) wherever the host's clock source allows it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::number::index;
use crate::sys;

/// A kind of event: its name, and the names of its two numbers. A number without a name
/// is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKind {
    /// The name of the event, for people.
    pub name: &'static str,
    /// The names of the two numbers.
    pub numbers: [&'static str; 2],
}

impl EventKind {
    /// A kind of event called `name`, whose numbers are called `numbers`.
    #[must_use]
    pub const fn new(name: &'static str, numbers: [&'static str; 2]) -> Self {
        Self { name, numbers }
    }
}

/// An event that a thread noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When the event began.
    pub begin: u64,
    /// When the event ended; None for an event without a duration.
    pub end: Option<u64>,
    /// What the entry records.
    pub entry: TraceEntry,
    /// Two numbers; [`EventKind::numbers`] names them.
    pub numbers: [u64; 2],
}

/// What an entry of a ring records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceEntry {
    /// A thread writes the ring from now on; the first number is the thread's id.
    Thread,
    /// Events were lost before this one; the first number is their count.
    Lost,
    /// An event of one of the kinds that the ring was made with.
    Event(EventKind),
}

/// Fields of an event in the ring: begin, end, code, and the two numbers.
const FIELDS: usize = 5;

/// Codes that are not the index of a kind.
const THREAD: u64 = u64::MAX;
const LOST: u64 = u64::MAX - 1;

/// A ring with the events of one thread. All atomics are relaxed but the two positions,
/// which say what may be read and what may be overwritten.
#[derive(Debug)]
pub struct TraceRing {
    name: String,
    kinds: &'static [EventKind],
    slots: Box<[[AtomicU64; FIELDS]]>,
    /// Events written in all. The thread that traces changes it.
    written: AtomicU64,
    /// Events read in all. The reader changes it.
    read: AtomicU64,
    /// Events lost since the last one that was written. The thread that traces changes it.
    lost: AtomicU64,
    /// A copy of `read` as the thread that traces saw it last: it spares the reader's cache
    /// line.
    seen: AtomicU64,
}

impl TraceRing {
    /// A ring for the thread called `name`, with `room` for events that have not been read.
    #[must_use]
    pub fn new(name: impl Into<String>, kinds: &'static [EventKind], room: usize) -> Self {
        let slot = |_| [const { AtomicU64::new(0) }; FIELDS];
        Self {
            name: name.into(),
            kinds,
            slots: (0..room.max(2)).map(slot).collect(),
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }

    /// The thread's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The current time, in nanoseconds of CLOCK_MONOTONIC.
    #[must_use]
    pub fn now() -> u64 {
        sys::monotonic_ns()
    }

    /// Notes that the calling thread writes this ring from now on.
    pub fn begin_thread(&self) {
        self.write(Self::now(), 0, THREAD, [sys::thread_id(), 0]);
    }

    /// Notes an event without a duration; `kind` is its index in the ring's kinds.
    pub fn instant(&self, kind: u8, numbers: [u64; 2]) {
        self.write(Self::now(), 0, kind.into(), numbers);
    }

    /// Notes an event that began at `begin` and ends now.
    pub fn slice(&self, kind: u8, begin: u64, numbers: [u64; 2]) {
        // An end of 0 means no duration.
        self.write(begin, Self::now().max(1), kind.into(), numbers);
    }

    /// Writes an event, or counts it as lost. Only the ring's one thread calls this.
    fn write(&self, begin: u64, end: u64, code: u64, numbers: [u64; 2]) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            // The event that reports the loss needs a slot, too.
            if !self.has_room(2) {
                return self.lost.store(lost.wrapping_add(1), Ordering::Relaxed);
            }
            self.lost.store(0, Ordering::Relaxed);
            self.put([begin, 0, LOST, lost, 0]);
        } else if !self.has_room(1) {
            return self.lost.store(1, Ordering::Relaxed);
        }
        let [a, b] = numbers;
        self.put([begin, end, code, a, b]);
    }

    fn has_room(&self, count: u64) -> bool {
        let enough = |read: u64| {
            let unread = self.written.load(Ordering::Relaxed).wrapping_sub(read);
            unread.wrapping_add(count) <= self.slots.len() as u64
        };
        if enough(self.seen.load(Ordering::Relaxed)) {
            return true;
        }
        // Acquire: the reader has read a slot before we overwrite it.
        let read = self.read.load(Ordering::Acquire);
        self.seen.store(read, Ordering::Relaxed);
        enough(read)
    }

    fn put(&self, event: [u64; FIELDS]) {
        let written = self.written.load(Ordering::Relaxed);
        if let Some(slot) = self.slot(written) {
            for (to, from) in slot.iter().zip(event) {
                to.store(from, Ordering::Relaxed);
            }
        }
        // Release: the event is in its slot before the position includes it.
        self.written.store(written.wrapping_add(1), Ordering::Release);
    }

    fn slot(&self, position: u64) -> Option<&[AtomicU64; FIELDS]> {
        let place = position.checked_rem(self.slots.len() as u64)?;
        self.slots.get(index(place))
    }

    /// Takes all events out, in order, and returns their number. Only one thread at a time
    /// may call this.
    pub fn drain(&self, mut each: impl FnMut(Event)) -> u64 {
        let mut read = self.read.load(Ordering::Relaxed);
        let written = self.written.load(Ordering::Acquire);
        let count = written.wrapping_sub(read);
        while read != written {
            if let Some(slot) = self.slot(read) {
                let [begin, end, code, a, b] =
                    slot.each_ref().map(|field| field.load(Ordering::Relaxed));
                self.event(begin, end, code, [a, b]).into_iter().for_each(&mut each);
            }
            read = read.wrapping_add(1);
            self.read.store(read, Ordering::Release);
        }
        count
    }

    /// The number of lost events that no event has reported yet.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn event(&self, begin: u64, end: u64, code: u64, numbers: [u64; 2]) -> Option<Event> {
        let entry = match code {
            THREAD => TraceEntry::Thread,
            LOST => TraceEntry::Lost,
            code => TraceEntry::Event(*self.kinds.get(index(code))?),
        };
        Some(Event { begin, end: (end != 0).then_some(end), entry, numbers })
    }
}

#[cfg(test)]
mod tests;
