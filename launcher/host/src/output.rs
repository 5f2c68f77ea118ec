//! What the guest prints on a console: the last of it, and how far each reader
//! has come. A ring stands between the console's transmit queue, which must not
//! be held up by a reader that is gone or stopped, and readers that each block in
//! a thread of their own. One that reads, however slowly, loses nothing; without
//! any the oldest makes room, and is counted. A [`Sink`] fills, a [`Reader`]
//! takes; [`crate::writer`] is a reader that is there from the beginning.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use devices::mutex::lock;
use nix::sys::eventfd::{EfdFlags, EventFd};

mod reader;
mod sink;

#[cfg(test)]
pub(crate) mod tests;

pub use reader::{Reader, Taken};
pub use sink::{LossyWriter, Sink};

/// What a reader may leave unread before anybody waits for it, and what one that
/// comes later still finds, unless it is said.
pub const CAPACITY: usize = 1 << 20;

/// A reader that takes nothing for this long, with the ring full, counts as
/// absent: until it takes something again, nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The output of one console. A clone is the same.
#[derive(Debug, Clone)]
pub struct Output(Arc<SharedRing>);

#[derive(Debug)]
struct SharedRing {
    state: Mutex<RingState>,
    /// Readers sleep here.
    filled: Condvar,
    /// Sinks sleep here: a signal interrupts it, unlike a Condvar.
    room: EventFd,
    /// Main sleeps here, at the end: a reader has left.
    left: EventFd,
}

#[derive(Debug)]
struct RingState {
    /// The last of what was printed.
    ring: VecDeque<u8>,
    /// How much of it is kept.
    capacity: usize,
    /// How many bytes were ever printed. Positions count from there.
    end: u64,
    /// So far somebody has read; what comes then is new to a new reader.
    read: u64,
    /// What made room before anybody read it, since a reader was told.
    lost: u64,
    readers: Vec<ReaderPosition>,
    next_reader: u64,
    readers_asleep: usize,
    sinks_waiting: usize,
    /// The guest has printed its last.
    finished: bool,
}

/// What a reader is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderRole {
    /// To write to a file of ours, from the beginning to the end.
    Writer,
    /// Somebody at the console: what he has read is not new to the next.
    Client,
    /// To look, from the first of what is kept: it stays unread.
    Follower,
    /// To see it all for the launcher's own sake, from the beginning to the end: it
    /// stays unread, too.
    Witness,
}

impl ReaderRole {
    /// Whether what it has read is still new to others.
    fn only_looks(self) -> bool {
        matches!(self, Self::Follower | Self::Witness)
    }

    /// Whether it has come from outside.
    fn is_client(self) -> bool {
        matches!(self, Self::Client | Self::Follower)
    }
}

/// How far a reader has come.
#[derive(Debug)]
struct ReaderPosition {
    reader: u64,
    role: ReaderRole,
    at: u64,
    /// For how long sinks have waited since it last took something.
    waited: Duration,
    /// What it lost since it was told.
    lost: u64,
    /// It is to leave.
    dismissed: bool,
}

impl Output {
    /// Nothing yet.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn new() -> io::Result<Self> {
        Self::with_capacity(CAPACITY)
    }

    /// An output of which so many bytes are kept: with 0, only what a reader has not read yet.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn with_capacity(capacity: usize) -> io::Result<Self> {
        let event = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let state = RingState {
            // The host gives pages as they are first used.
            ring: VecDeque::with_capacity(capacity),
            capacity,
            end: 0,
            read: 0,
            lost: 0,
            readers: Vec::new(),
            next_reader: 0,
            readers_asleep: 0,
            sinks_waiting: 0,
            finished: false,
        };
        Ok(Self(Arc::new(SharedRing {
            state: Mutex::new(state),
            filled: Condvar::new(),
            room: event()?,
            left: event()?,
        })))
    }

    /// A way into the ring.
    pub fn sink(&self) -> Sink {
        Sink::new(Arc::clone(&self.0))
    }

    /// Somebody who reads from now on, beginning with what nobody has read.
    pub fn reader(&self, role: ReaderRole) -> Reader {
        Reader::new(&self.0, role)
    }

    /// What is kept of all that was printed: the last of it.
    pub fn kept(&self) -> Vec<u8> {
        self.0.lock().ring.iter().copied().collect()
    }

    /// What nobody has read, and how many bytes before that are lost. It stays
    /// unread.
    pub fn peek(&self) -> (Vec<u8>, u64) {
        let state = self.0.lock();
        let skip = usize::try_from(state.read.saturating_sub(state.start())).unwrap_or(usize::MAX);
        (state.ring.iter().skip(skip).copied().collect(), state.lost)
    }

    /// How many bytes nobody has read, and how many before those are lost.
    pub fn unread(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.end.saturating_sub(state.read.max(state.start())), state.lost)
    }

    /// Whether the guest has printed anything at all.
    pub fn is_used(&self) -> bool {
        self.0.lock().end > 0
    }

    /// No more will come: readers leave when they have taken what there is.
    pub fn finish(&self) {
        self.0.lock().finished = true;
        self.0.filled.notify_all();
    }

    /// Have this reader leave, whatever there is to take.
    pub fn dismiss(&self, reader: u64) {
        if let Some(place) = self.0.lock().place(reader) {
            place.dismissed = true;
        }
        self.0.filled.notify_all();
    }

    /// How many readers there are that are not our own.
    pub fn clients(&self) -> usize {
        self.0.lock().readers.iter().filter(|place| place.role.is_client()).count()
    }

    /// Whether all readers have left.
    pub fn is_left(&self) -> bool {
        self.0.lock().readers.is_empty()
    }

    /// Readable after a reader has left, see [`Self::rearm`].
    pub fn left(&self) -> BorrowedFd<'_> {
        self.0.left.as_fd()
    }

    /// Wait for the next one.
    pub fn rearm(&self) {
        // Fails only if none has left since.
        let _ = self.0.left.read();
    }

    /// What this reader has lost and not been told, and what it has not read; nothing
    /// if it has left.
    pub(crate) fn take_unread(&self, reader: u64) -> u64 {
        let state = &mut *self.0.lock();
        let end = state.end;
        state.place(reader).map_or(0, |place| {
            let unread = end.saturating_sub(place.at);
            std::mem::take(&mut place.lost).saturating_add(unread)
        })
    }

    /// How many bytes were ever printed.
    pub fn end(&self) -> u64 {
        self.0.lock().end
    }
}

impl SharedRing {
    fn lock(&self) -> MutexGuard<'_, RingState> {
        lock(&self.state)
    }
}

impl RingState {
    /// Where the ring begins.
    fn start(&self) -> u64 {
        self.end.saturating_sub(self.ring.len() as u64)
    }

    /// Bytes that can be printed without loss to a reader that is there.
    fn room(&self) -> usize {
        let places = self.readers.iter().filter(|place| place.waited < PATIENCE);
        let unread = places.map(|place| self.end.saturating_sub(place.at)).max();
        unread.map_or(usize::MAX, |unread| {
            self.capacity.saturating_sub(usize::try_from(unread).unwrap_or(usize::MAX))
        })
    }

    /// Print these bytes. Where there is no room, the oldest are lost.
    fn print(&mut self, bytes: &[u8]) {
        let kept = bytes.get(bytes.len().saturating_sub(self.capacity)..).unwrap_or_default();
        let excess = (self.ring.len() + kept.len()).saturating_sub(self.capacity);
        self.ring.drain(..excess.min(self.ring.len()));
        self.ring.extend(kept);
        self.end = self.end.saturating_add(bytes.len() as u64);
        let start = self.start();
        for place in &mut self.readers {
            place.lost = place.lost.saturating_add(start.saturating_sub(place.at));
            place.at = place.at.max(start);
        }
        if self.readers.iter().all(|place| place.role.only_looks()) {
            self.lost = self.lost.saturating_add(start.saturating_sub(self.read));
        }
        self.read = self.read.max(start);
    }

    fn place(&mut self, reader: u64) -> Option<&mut ReaderPosition> {
        self.readers.iter_mut().find(|place| place.reader == reader)
    }
}
