//! The guest's buffers of a request as one stream of bytes, read or filled by
//! the services of all devices: copied, or handed to the kernel where they lie.
//! The system calls are in [`crate::sys`].

use std::io;
use std::os::fd::BorrowedFd;

use vm_memory::{Bytes, VolatileSlice};

use crate::number::{clamped_u32, index};
use crate::sys::{self, Segment};

/// Guest buffers in a row, as one stream: what was read or written is gone.
#[derive(Debug, Default)]
pub struct Buffers<'m> {
    segments: Vec<Segment<'m>>,
    /// Segments before this one are done with.
    first: usize,
    /// Bytes in all when the driver made them available.
    offered: u64,
    done: u64,
    /// The very last byte, if it has been set aside.
    last: Option<Segment<'m>>,
}

impl<'m> Buffers<'m> {
    pub(super) fn clear(&mut self) {
        self.segments.clear();
        self.last = None;
        (self.first, self.offered, self.done) = (0, 0, 0);
    }

    /// The first `bytes` have gone back to the driver, whatever was done with them.
    pub(super) fn retire(&mut self, bytes: u64) {
        let rest = bytes.saturating_sub(self.done);
        self.consume(index(rest));
        self.segments.drain(..self.first);
        (self.first, self.done) = (0, 0);
        self.offered = self.offered.saturating_sub(bytes);
    }

    /// Whether the driver gave anything at all.
    pub(crate) fn offered(&self) -> bool {
        self.offered != 0
    }

    /// One more buffer at the end.
    pub(crate) fn push(&mut self, slice: &VolatileSlice<'m, ()>) {
        self.offered += slice.len() as u64;
        self.segments.push(Segment::new(slice));
    }

    /// Whether one system call could take no more buffers than there are.
    pub(crate) fn fills_a_call(&self) -> bool {
        self.left().len() >= sys::MOST_SEGMENTS
    }

    /// Bytes not yet read or written; of a window of several chains that has
    /// more than 4 GiB, that many.
    #[must_use]
    pub fn len(&self) -> u32 {
        clamped_u32(self.offered - self.done)
    }

    /// Whether all has been read or written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes read or written so far; of `to_guest`, the length for the used ring.
    #[must_use]
    pub fn done(&self) -> u32 {
        clamped_u32(self.done)
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
    /// that has been set aside stays so. False if the stream is empty.
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

    /// One writev(2) of everything left as one datagram, which is not consumed.
    ///
    /// # Errors
    /// Those of writev(2), and [`io::ErrorKind::InvalidInput`] for one in more
    /// pieces than the kernel takes.
    pub fn send_to(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        if self.left().len() > sys::MOST_SEGMENTS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sys::writev(fd, self.left())
    }

    /// One readv(2) of one datagram into the room left, which is not consumed
    /// yet. Returns its length, or None if there was not enough room or the length has
    /// more than 32 bits: the datagram is lost then.
    ///
    /// # Errors
    /// Those of readv(2).
    pub fn receive_from(&mut self, fd: BorrowedFd<'_>) -> io::Result<Option<u32>> {
        let length = sys::receive(fd, &mut self.segments, self.first)?;
        Ok(length.and_then(|length| u32::try_from(length).ok()))
    }

    /// Copy `bytes` over what lies `offset` bytes ahead, without consuming it;
    /// how many found room.
    pub fn overwrite(&self, offset: usize, bytes: &[u8]) -> usize {
        let (mut skip, mut taken) = (offset, 0);
        for segment in self.left() {
            let room = segment.len().saturating_sub(skip);
            let rest = bytes.get(taken..).unwrap_or_default();
            let part = rest.get(..room.min(rest.len())).unwrap_or_default();
            if !part.is_empty() && segment.slice().write_slice(part, skip).is_err() {
                break;
            }
            taken += part.len();
            skip = skip.saturating_sub(segment.len());
            if taken == bytes.len() {
                break;
            }
        }
        taken
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
        let mut room = index(length);
        for segment in self.segments.get_mut(self.first..).unwrap_or_default() {
            segment.truncate(room);
            room -= segment.len();
        }
        self.offered = self.offered.min(self.done.saturating_add(length.into()));
    }

    /// Leave out the next `count` bytes.
    pub fn consume(&mut self, count: usize) {
        let mut count = count;
        while let Some(segment) = self.segments.get_mut(self.first) {
            let step = count.min(segment.len());
            segment.advance(step);
            count -= step;
            self.done += step as u64;
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
