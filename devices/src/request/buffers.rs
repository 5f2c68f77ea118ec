//! The guest's buffers of a request as one stream of bytes. Services copy the bytes, or
//! have the kernel read and write them in guest memory. The system calls are in
//! [`crate::sys`].

use std::io;
use std::os::fd::BorrowedFd;

use vm_memory::{Bytes, VolatileSlice};

use crate::number::{clamped_u32, index};
use crate::sys::{self, Segment};

/// Guest buffers as one stream. Bytes that were read or written are consumed.
#[derive(Debug, Default)]
pub struct Buffers<'m> {
    segments: Vec<Segment<'m>>,
    /// The index of the first segment that has not been consumed.
    first: usize,
    /// All bytes that the driver offered.
    offered: u64,
    /// Bytes that have been consumed.
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

    /// Removes the first `bytes`, consumed or not: they have gone back to the driver.
    pub(super) fn retire(&mut self, bytes: u64) {
        let rest = bytes.saturating_sub(self.done);
        self.consume(index(rest));
        self.segments.drain(..self.first);
        (self.first, self.done) = (0, 0);
        self.offered = self.offered.saturating_sub(bytes);
    }

    /// Whether the driver offered any bytes.
    pub(crate) fn offered(&self) -> bool {
        self.offered != 0
    }

    /// Adds a buffer at the end.
    pub(crate) fn push(&mut self, slice: &VolatileSlice<'m, ()>) {
        self.offered += slice.len() as u64;
        self.segments.push(Segment::new(slice));
    }

    /// Whether there are at least as many buffers as one system call takes.
    pub(crate) fn fills_a_call(&self) -> bool {
        self.left().len() >= sys::MOST_SEGMENTS
    }

    /// The number of bytes that have not been consumed. If several chains have 4 GiB or
    /// more, it is `u32::MAX`.
    #[must_use]
    pub fn len(&self) -> u32 {
        clamped_u32(self.offered - self.done)
    }

    /// Whether all bytes have been consumed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of bytes that have been consumed. Of `to_guest`, it is the length for the
    /// used ring.
    #[must_use]
    pub fn done(&self) -> u32 {
        clamped_u32(self.done)
    }

    /// Writes all remaining bytes with one writev(2), and consumes those that were written.
    ///
    /// # Errors
    /// The errors of writev(2). No byte is consumed.
    pub fn write_to(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let count = sys::writev(fd, self.left())?;
        self.consume(count);
        Ok(count)
    }

    /// Fills all remaining room with one readv(2), and consumes what was filled.
    ///
    /// # Errors
    /// The errors of readv(2). No byte is consumed.
    pub fn read_from(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let first = self.first;
        let count = sys::readv(fd, self.segments.get_mut(first..).unwrap_or_default())?;
        self.consume(count);
        Ok(count)
    }

    /// Fills at most `limit` bytes with one preadv(2) from byte `at` of a file, and consumes
    /// what was filled.
    ///
    /// # Errors
    /// The errors of preadv(2). No byte is consumed.
    pub fn read_from_at(&mut self, fd: BorrowedFd<'_>, at: u64, limit: usize) -> io::Result<usize> {
        self.piece(limit, |segments| sys::preadv(fd, segments, at))
    }

    /// Writes at most `limit` bytes with one pwritev(2) to byte `at` of a file, and consumes
    /// those that were written.
    ///
    /// # Errors
    /// The errors of pwritev(2). No byte is consumed.
    pub fn write_to_at(&mut self, fd: BorrowedFd<'_>, at: u64, limit: usize) -> io::Result<usize> {
        self.piece(limit, |segments| sys::pwritev(fd, segments, at))
    }

    /// Passes the next `limit` bytes to `transfer`, and consumes those that it moved.
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
        // A segment that does not fit is cut for the call, and restored after it.
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

    /// Whether addresses and lengths of the remaining buffers are multiples of `alignment`,
    /// as direct I/O needs it.
    #[must_use]
    pub fn is_aligned(&self, alignment: usize) -> bool {
        self.left().iter().all(|segment| segment.is_aligned(alignment))
    }

    /// Takes the very last byte out of the stream, for [`Self::put_last`]. Does nothing if
    /// that has been done. Returns false if the stream is empty.
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

    /// Writes the byte that was set aside. It counts as written if all bytes before it were
    /// written.
    pub fn put_last(&mut self, byte: u8) {
        let Some(last) = self.last.take() else { return };
        if last.slice().write_slice(&[byte], 0).is_ok() && self.is_empty() {
            self.offered += 1;
            self.done += 1;
        }
    }

    /// Sends all remaining bytes as one datagram with one writev(2). No byte is consumed.
    ///
    /// # Errors
    /// The errors of writev(2), and [`io::ErrorKind::InvalidInput`] for a datagram in more
    /// buffers than the kernel takes.
    pub fn send_to(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        if self.left().len() > sys::MOST_SEGMENTS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sys::writev(fd, self.left())
    }

    /// Receives one datagram into the remaining room with one readv(2). No room is
    /// consumed. Returns the length of the datagram. None if the room was too small or the
    /// length has more than 32 bits: the datagram is lost.
    ///
    /// # Errors
    /// The errors of readv(2).
    pub fn receive_from(&mut self, fd: BorrowedFd<'_>) -> io::Result<Option<u32>> {
        let length = sys::receive(fd, &mut self.segments, self.first)?;
        Ok(length.and_then(|length| u32::try_from(length).ok()))
    }

    /// Copies `bytes` to the place `offset` bytes ahead, without consuming it. Returns how
    /// many bytes found room.
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

    /// Copies the next bytes into `bytes` without consuming them. Returns how many there
    /// were.
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

    /// Copies `bytes` into the remaining room, and consumes it. Returns how many bytes found
    /// room.
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

    /// Drops all but the next `length` bytes.
    pub fn truncate(&mut self, length: u32) {
        let mut room = index(length);
        for segment in self.segments.get_mut(self.first..).unwrap_or_default() {
            segment.truncate(room);
            room -= segment.len();
        }
        self.offered = self.offered.min(self.done.saturating_add(length.into()));
    }

    /// Consumes the next `count` bytes.
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
