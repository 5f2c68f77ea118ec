//! One request of the driver: a descriptor chain, checked and copied once by
//! [`crate::queue`], as two streams of bytes. A [`crate::device::Service`]
//! reads the one and fills the other and never sees a descriptor.

use std::io;
use std::os::fd::BorrowedFd;

use vm_memory::{Bytes, VolatileSlice};

use crate::error::GuestError;
use crate::sys::{self, Segment};

/// What the driver put in the queue. The thread reuses one for all requests,
/// so that serving one allocates nothing.
#[derive(Debug, Default)]
pub struct Request<'m> {
    pub(crate) head: u16,
    /// Bytes that the driver hands over (device-readable).
    pub from_guest: Buffers<'m>,
    /// Room for the answer (device-writable).
    pub to_guest: Buffers<'m>,
}

impl Request<'_> {
    pub(crate) fn clear(&mut self, head: u16) {
        self.head = head;
        self.from_guest.clear();
        self.to_guest.clear();
    }

    /// For queues that only take: there is nowhere to put an answer.
    ///
    /// # Errors
    /// [`GuestError::Direction`] if the driver offered room all the same.
    pub fn expect_nothing_to_guest(&self) -> Result<(), GuestError> {
        if self.to_guest.offered() {
            return Err(GuestError::Direction("device-writable buffer in an output queue"));
        }
        Ok(())
    }

    /// For queues that only give.
    ///
    /// # Errors
    /// [`GuestError::Direction`] if the driver handed over bytes all the same.
    pub fn expect_nothing_from_guest(&self) -> Result<(), GuestError> {
        if self.from_guest.offered() {
            return Err(GuestError::Direction("device-readable buffer in an input queue"));
        }
        Ok(())
    }
}

/// Guest buffers in a row, as one stream: what was read or written is gone.
#[derive(Debug, Default)]
pub struct Buffers<'m> {
    segments: Vec<Segment<'m>>,
    /// Segments before this one are done with.
    first: usize,
    /// Bytes in all when the driver made them available.
    offered: u32,
    done: u32,
    /// The very last byte, if it has been set aside.
    last: Option<Segment<'m>>,
}

impl<'m> Buffers<'m> {
    fn clear(&mut self) {
        self.segments.clear();
        self.last = None;
        (self.first, self.offered, self.done) = (0, 0, 0);
    }

    /// Whether the driver gave anything at all.
    pub(crate) fn offered(&self) -> bool {
        self.offered != 0
    }

    /// One more buffer at the end.
    pub(crate) fn push(&mut self, slice: &VolatileSlice<'m, ()>) -> Result<(), GuestError> {
        let length = u32::try_from(slice.len()).map_err(|_| GuestError::ChainTooLarge)?;
        self.offered = self.offered.checked_add(length).ok_or(GuestError::ChainTooLarge)?;
        self.segments.push(Segment::new(slice));
        Ok(())
    }

    /// Bytes not yet read or written.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.offered - self.done
    }

    /// Whether all has been read or written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes read or written so far; of `to_guest`, the length for the used ring.
    #[must_use]
    pub fn done(&self) -> u32 {
        self.done
    }

    /// One writev(2) of everything left; what was written is consumed.
    ///
    /// # Errors
    /// Those of writev(2); nothing is consumed then.
    pub fn write_to(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let count = sys::writev(fd, self.left())?;
        self.consume(count);
        Ok(count)
    }

    /// One readv(2) into all the room left; what was filled is consumed.
    ///
    /// # Errors
    /// Those of readv(2); nothing is consumed then.
    pub fn read_from(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let first = self.first;
        let count = sys::readv(fd, self.segments.get_mut(first..).unwrap_or_default())?;
        self.consume(count);
        Ok(count)
    }

    /// One preadv(2) into the room left, of at most `limit` bytes from byte `at`
    /// of a file; what was filled is consumed.
    ///
    /// # Errors
    /// Those of preadv(2); nothing is consumed then.
    pub fn read_from_at(&mut self, fd: BorrowedFd<'_>, at: u64, limit: usize) -> io::Result<usize> {
        self.piece(limit, |segments| sys::preadv(fd, segments, at))
    }

    /// One pwritev(2) of at most `limit` bytes of what is left to byte `at` of a
    /// file; what was written is consumed.
    ///
    /// # Errors
    /// Those of pwritev(2); nothing is consumed then.
    pub fn write_to_at(&mut self, fd: BorrowedFd<'_>, at: u64, limit: usize) -> io::Result<usize> {
        self.piece(limit, |segments| sys::pwritev(fd, segments, at))
    }

    /// Give the next `limit` bytes to `transfer`, and consume what it moved.
    fn piece(
        &mut self,
        limit: usize,
        transfer: impl FnOnce(&mut [Segment<'m>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let left = self.segments.get_mut(self.first..).unwrap_or_default();
        let mut room = limit;
        let fits = |segment: &&Segment<'m>| {
            let rest = room.checked_sub(segment.len());
            room = rest.unwrap_or(room);
            rest.is_some()
        };
        let whole = left.iter().take_while(fits).count();
        // One that does not fit is cut for the call, and is whole again after it.
        let cut = left.get_mut(whole).map(|segment| {
            let head = segment.head(room);
            std::mem::replace(segment, head)
        });
        let moved =
            transfer(left.get_mut(..whole + usize::from(cut.is_some())).unwrap_or_default());
        if let (Some(segment), Some(uncut)) = (left.get_mut(whole), cut) {
            *segment = uncut;
        }
        let moved = moved?;
        self.consume(moved);
        Ok(moved)
    }

    /// Whether what is left lies in memory at multiples of `alignment`, as
    /// direct I/O wants it.
    #[must_use]
    pub fn is_aligned(&self, alignment: usize) -> bool {
        self.left().iter().all(|segment| segment.is_aligned(alignment))
    }

    /// Take the very last byte out of the stream, for [`Self::put_last`]; a byte
    /// that has been set aside stays so. False if there is none.
    pub fn set_aside_last(&mut self) -> bool {
        while let (None, Some(segment)) = (&self.last, self.segments.last_mut()) {
            match segment.split_last() {
                Some(last) => {
                    self.last = Some(last);
                    self.offered -= 1;
                }
                None => drop(self.segments.pop()),
            }
        }
        self.last.is_some()
    }

    /// Write the byte that was set aside. It counts as written if all before it was.
    pub fn put_last(&mut self, byte: u8) {
        let Some(last) = self.last.take() else { return };
        if last.slice().write_slice(&[byte], 0).is_ok() && self.is_empty() {
            self.offered += 1;
            self.done += 1;
        }
    }

    /// Copy what comes next into `bytes` without consuming it; how many there were.
    pub fn peek(&self, bytes: &mut [u8]) -> usize {
        let mut filled = 0;
        for segment in self.left() {
            let rest = bytes.get_mut(filled..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            filled += segment.slice().copy_to(rest);
        }
        filled
    }

    /// Copy from `bytes` into the room left, consuming it; how many found room.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let (Some(segment), Some(rest)) = (self.left().first(), bytes.get(taken..)) {
            let count = segment.len().min(rest.len());
            let Some(rest) = rest.get(..count).filter(|rest| !rest.is_empty()) else { break };
            if segment.slice().write_slice(rest, 0).is_err() {
                break;
            }
            self.consume(count);
            taken += count;
        }
        taken
    }

    /// Leave out all but the next `length` bytes.
    pub fn truncate(&mut self, length: u32) {
        let mut room = usize::try_from(length).unwrap_or(usize::MAX);
        for segment in self.segments.get_mut(self.first..).unwrap_or_default() {
            segment.truncate(room);
            room -= segment.len();
        }
        self.offered = self.offered.min(self.done.saturating_add(length));
    }

    /// Leave out the next `count` bytes.
    pub fn consume(&mut self, count: usize) {
        let mut count = count;
        while let Some(segment) = self.segments.get_mut(self.first) {
            let step = count.min(segment.len());
            segment.advance(step);
            count -= step;
            self.done += u32::try_from(step).unwrap_or(u32::MAX);
            if segment.len() != 0 {
                break;
            }
            self.first += 1;
        }
    }

    fn left(&self) -> &[Segment<'m>] {
        self.segments.get(self.first..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
