//! The output of a console: a ring with the newest bytes, and the position of each
//! reader. The ring is between the console's transmit queue, which must not
//! be held up by a reader that is gone or stopped, and readers that each block in
//! a thread of their own. A reader that reads, however slowly, loses nothing. Without
//! readers, the oldest bytes make room, and are counted. A [`Sink`] fills the ring, a [`Reader`]
//! reads it; [`crate::writer`] is a reader from the beginning.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use devices::mutex::lock;
use devices::number::index;
use nix::sys::eventfd::{EfdFlags, EventFd};

mod reader;
mod sink;
mod state;

#[cfg(test)]
pub(crate) mod tests;

pub use reader::{Reader, Taken};
pub use sink::{LossyWriter, Sink};
pub use state::OutputState;

/// The default size of a ring in bytes: the output that a reader may leave unread before a sink
/// waits for it, and that a later reader still finds.
pub const CAPACITY: usize = 1 << 20;

/// A reader that takes nothing for this long, with the ring full, counts as
/// absent: until it takes something again, no sink waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The output of one console. A clone shares the ring.
#[derive(Debug, Clone)]
pub struct OutputRing(Arc<SharedRing>);

#[derive(Debug)]
struct SharedRing {
    state: Mutex<RingState>,
    /// The condition on which readers sleep.
    filled: Condvar,
    /// The event on which sinks sleep: a signal interrupts the sleep, unlike that on a Condvar.
    room: EventFd,
    /// The event on which main sleeps at the end: a reader has left.
    left: EventFd,
}

#[derive(Debug)]
struct RingState {
    /// The newest bytes.
    ring: VecDeque<u8>,
    /// The number of bytes that are kept, at most.
    capacity: usize,
    /// The position after the newest byte: the number of bytes that were ever printed.
    end: u64,
    /// The position up to which clients have read. A new client begins here.
    read: u64,
    /// The number of bytes that made room before any client read them, since the last report.
    lost: u64,
    readers: Vec<ReaderPosition>,
    next_reader: u64,
    readers_asleep: usize,
    sinks_waiting: usize,
    /// No more output will come.
    finished: bool,
    /// Readers take nothing: the bytes are being saved.
    held: bool,
}

/// The purpose of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderRole {
    /// Writes to a file of the launcher's, from the beginning to the end.
    Writer,
    /// A client at the console. The next client does not get the bytes that this one has read.
    Client,
    /// A client that reads from the oldest byte in the ring. The bytes still count as unread.
    Follower,
    /// A part of the launcher that examines all output, from the beginning to the end. The bytes
    /// still count as unread.
    Witness,
}

impl ReaderRole {
    /// Whether the bytes that such a reader has read still count as unread.
    fn only_looks(self) -> bool {
        matches!(self, Self::Follower | Self::Witness)
    }

    /// Whether such a reader belongs to a client.
    fn is_client(self) -> bool {
        matches!(self, Self::Client | Self::Follower)
    }
}

/// The position of a reader in the output.
#[derive(Debug)]
struct ReaderPosition {
    reader: u64,
    role: ReaderRole,
    at: u64,
    /// How long sinks have waited since the reader last took something.
    waited: Duration,
    /// The number of bytes that the reader lost since the last report.
    lost: u64,
    /// The reader has to leave.
    dismissed: bool,
}

impl OutputRing {
    /// An empty output, which keeps [`CAPACITY`] bytes.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn new() -> io::Result<Self> {
        Self::with_capacity(CAPACITY)
    }

    /// An empty output, which keeps `capacity` bytes.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn with_capacity(capacity: usize) -> io::Result<Self> {
        let event = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let state = RingState {
            // The host provides pages when they are first used.
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
            held: false,
        };
        Ok(Self(Arc::new(SharedRing {
            state: Mutex::new(state),
            filled: Condvar::new(),
            room: event()?,
            left: event()?,
        })))
    }

    /// A sink that fills the ring.
    pub fn sink(&self) -> Sink {
        Sink::new(Arc::clone(&self.0))
    }

    /// A new reader. It begins with the first unread byte; a follower or witness begins with the
    /// oldest byte in the ring.
    pub fn reader(&self, role: ReaderRole) -> Reader {
        Reader::new(&self.0, role)
    }

    /// The bytes in the ring.
    pub fn kept(&self) -> Vec<u8> {
        self.0.lock().ring.iter().copied().collect()
    }

    /// The bytes that no client has read, and the number of bytes before them that are lost. The
    /// bytes still count as unread.
    pub fn peek(&self) -> (Vec<u8>, u64) {
        let state = self.0.lock();
        let skip = index(state.read.saturating_sub(state.start()));
        (state.ring.iter().skip(skip).copied().collect(), state.lost)
    }

    /// The number of bytes that no client has read, and the number of bytes before them that are
    /// lost.
    pub fn unread(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.end.saturating_sub(state.read.max(state.start())), state.lost)
    }

    /// Whether the guest has printed at least one byte.
    pub fn is_used(&self) -> bool {
        self.0.lock().end > 0
    }

    /// End the output: readers leave when they have taken all bytes.
    pub fn finish(&self) {
        self.0.lock().finished = true;
        self.0.filled.notify_all();
    }

    /// Have this reader leave at once, even if bytes are left.
    pub fn dismiss(&self, reader: u64) {
        if let Some(position) = self.0.lock().position(reader) {
            position.dismissed = true;
        }
        self.0.filled.notify_all();
    }

    /// The number of readers that belong to clients.
    pub fn clients(&self) -> usize {
        self.0.lock().readers.iter().filter(|position| position.role.is_client()).count()
    }

    /// Whether all readers have left.
    pub fn is_left(&self) -> bool {
        self.0.lock().readers.is_empty()
    }

    /// A descriptor that is readable after a reader has left, see [`Self::rearm`].
    pub fn left(&self) -> BorrowedFd<'_> {
        self.0.left.as_fd()
    }

    /// Make [`Self::left`] unreadable until the next reader leaves.
    pub fn rearm(&self) {
        // Fails only if no reader has left since.
        let _ = self.0.left.read();
    }

    /// The number of bytes that this reader has lost since the last report, or not read; 0
    /// if it has left. Counts as a report.
    pub(crate) fn take_unread(&self, reader: u64) -> u64 {
        let state = &mut *self.0.lock();
        let end = state.end;
        state.position(reader).map_or(0, |position| {
            let unread = end.saturating_sub(position.at);
            std::mem::take(&mut position.lost).saturating_add(unread)
        })
    }

    /// The number of bytes that were ever printed.
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
    /// The position of the oldest byte in the ring.
    fn start(&self) -> u64 {
        self.end.saturating_sub(self.ring.len() as u64)
    }

    /// The number of bytes that can be printed without loss to a present reader.
    fn room(&self) -> usize {
        let positions = self.readers.iter().filter(|position| position.waited < PATIENCE);
        let unread = positions.map(|position| self.end.saturating_sub(position.at)).max();
        unread.map_or(usize::MAX, |unread| self.capacity.saturating_sub(index(unread)))
    }

    /// Print these bytes. If the ring is full, the oldest bytes are lost.
    fn print(&mut self, bytes: &[u8]) {
        let kept = bytes.get(bytes.len().saturating_sub(self.capacity)..).unwrap_or_default();
        let excess = (self.ring.len() + kept.len()).saturating_sub(self.capacity);
        self.ring.drain(..excess.min(self.ring.len()));
        self.ring.extend(kept);
        self.end = self.end.saturating_add(bytes.len() as u64);
        let start = self.start();
        for position in &mut self.readers {
            position.lost = position.lost.saturating_add(start.saturating_sub(position.at));
            position.at = position.at.max(start);
        }
        if self.readers.iter().all(|position| position.role.only_looks()) {
            self.lost = self.lost.saturating_add(start.saturating_sub(self.read));
        }
        self.read = self.read.max(start);
    }

    fn position(&mut self, reader: u64) -> Option<&mut ReaderPosition> {
        self.readers.iter_mut().find(|position| position.reader == reader)
    }
}
