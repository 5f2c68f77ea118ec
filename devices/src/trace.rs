//! What a thread did, and when: a ring of events that it writes and one other thread
//! reads ([`Lane::drain`]). Neither waits for the other, and writing is a few stores to
//! memory that is there already: where the reader is late, what comes is counted, and
//! lost. A lane stays when its thread ends, and the next thread of that name goes on
//! with it. Queue threads and the launcher's vCPU threads write events; the launcher
//! makes a file of them.
//!
//! Times are nanoseconds of CLOCK_MONOTONIC, which a process reads without a system
//! call (vDSO) wherever the host's clock source allows it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys;

/// A kind of event: what it is called, and what its two numbers are. One without a
/// name is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// As a person reads it.
    pub name: &'static str,
    /// Of the numbers.
    pub numbers: [&'static str; 2],
}

impl Word {
    /// A word with names for its numbers.
    #[must_use]
    pub const fn new(name: &'static str, numbers: [&'static str; 2]) -> Self {
        Self { name, numbers }
    }
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When it began.
    pub begin: u64,
    /// When it ended; None for what has no duration.
    pub end: Option<u64>,
    /// What it was.
    pub what: What,
    /// Two numbers that say more.
    pub numbers: [u64; 2],
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A thread goes on with the lane; its first number is the thread's id.
    Thread,
    /// Events were lost before this one; the first number is how many.
    Lost,
    /// One of the lane's own.
    Word(Word),
}

/// Words of an event in the ring: begin, end, code, and its two numbers.
const WORDS: usize = 5;

/// Codes that are no words.
const THREAD: u64 = u64::MAX;
const LOST: u64 = u64::MAX - 1;

/// The events of one thread. All atomics are relaxed but the two positions, which say
/// what may be read and what may be written again.
#[derive(Debug)]
pub struct Lane {
    name: String,
    words: &'static [Word],
    slots: Box<[[AtomicU64; WORDS]]>,
    /// How many events were written, ever: the thread's.
    written: AtomicU64,
    /// How many were read: the reader's.
    read: AtomicU64,
    /// How many were lost since the last that was not: the thread's.
    lost: AtomicU64,
    /// The last that is known of `read`: the thread's, to leave the reader's cache line alone.
    seen: AtomicU64,
}

impl Lane {
    /// For a thread of this name, with room for so many events that have not been read.
    #[must_use]
    pub fn new(name: impl Into<String>, words: &'static [Word], room: usize) -> Self {
        let slot = |_| [const { AtomicU64::new(0) }; WORDS];
        Self {
            name: name.into(),
            words,
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

    /// What time it is.
    #[must_use]
    pub fn now() -> u64 {
        sys::monotonic_ns()
    }

    /// The calling thread is the lane's from now on.
    pub fn begin_thread(&self) {
        self.write(Self::now(), 0, THREAD, [sys::thread_id(), 0]);
    }

    /// Something has happened, by its place among the lane's words.
    pub fn instant(&self, word: u8, numbers: [u64; 2]) {
        self.write(Self::now(), 0, word.into(), numbers);
    }

    /// Something that began then has ended now.
    pub fn slice(&self, word: u8, begin: u64, numbers: [u64; 2]) {
        // An end of 0 would be none.
        self.write(begin, Self::now().max(1), word.into(), numbers);
    }

    /// By the lane's one thread.
    fn write(&self, begin: u64, end: u64, code: u64, numbers: [u64; 2]) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            // The event that reports the loss needs a place, too.
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
        // Acquire: what was read has been read before it is written again.
        let read = self.read.load(Ordering::Acquire);
        self.seen.store(read, Ordering::Relaxed);
        enough(read)
    }

    fn put(&self, event: [u64; WORDS]) {
        let written = self.written.load(Ordering::Relaxed);
        if let Some(slot) = self.slot(written) {
            for (to, from) in slot.iter().zip(event) {
                to.store(from, Ordering::Relaxed);
            }
        }
        // Release: the event is there before it is said to be.
        self.written.store(written.wrapping_add(1), Ordering::Release);
    }

    fn slot(&self, index: u64) -> Option<&[AtomicU64; WORDS]> {
        let place = index.checked_rem(self.slots.len() as u64)?;
        self.slots.get(usize::try_from(place).ok()?)
    }

    /// Take out all that there is, in order. For one reader at a time. How many events
    /// there were.
    pub fn drain(&self, mut each: impl FnMut(Event)) -> u64 {
        let mut read = self.read.load(Ordering::Relaxed);
        let written = self.written.load(Ordering::Acquire);
        let count = written.wrapping_sub(read);
        while read != written {
            if let Some(slot) = self.slot(read) {
                let [begin, end, code, a, b] =
                    slot.each_ref().map(|word| word.load(Ordering::Relaxed));
                self.event(begin, end, code, [a, b]).into_iter().for_each(&mut each);
            }
            read = read.wrapping_add(1);
            self.read.store(read, Ordering::Release);
        }
        count
    }

    /// How many events are lost that no event has reported yet.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn event(&self, begin: u64, end: u64, code: u64, numbers: [u64; 2]) -> Option<Event> {
        let what = match code {
            THREAD => What::Thread,
            LOST => What::Lost,
            code => What::Word(*self.words.get(usize::try_from(code).ok()?)?),
        };
        Some(Event { begin, end: (end != 0).then_some(end), what, numbers })
    }
}

#[cfg(test)]
mod tests;
