//! Copy-on-write: a disk whose file does not change. What the guest writes goes to a private
//! file, and a map has a bit for each sector that is in there. A sector is the smallest unit
//! that a guest can write, so no write covers a part of a unit, and nothing is ever copied.
//!
//! The bits only change from 0 to 1. A write goes to the private file first, and then sets
//! the bits: a reader that sees a bit finds the sector. So the queue threads need no lock.

mod copy;
mod map;
mod private;

use std::fs::File;
use std::io;
use std::ops::Range;

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_SEMAPHORE, EventFd};

pub use private::{FileStamp, MAGIC, PrivateError, PrivateFile};

use super::SECTOR;
use super::file::HostFile;
use crate::number::index;
use crate::request::Buffers;
use crate::sys;

/// A file that does not change, and the private part of the disk.
#[derive(Debug)]
pub(super) struct Cow {
    base: HostFile,
    private: PrivateFile,
    /// A semaphore: 1 while no thread flushes. A thread that waits for it can be interrupted
    /// by a signal, which a mutex does not allow.
    turn: EventFd,
}

impl Cow {
    pub(super) fn new(base: HostFile, private: PrivateFile) -> io::Result<Self> {
        let turn = EventFd::new(EFD_SEMAPHORE | EFD_CLOEXEC)?;
        turn.write(1)?;
        Ok(Self { base, private, turn })
    }

    /// Reads at most `limit` bytes from byte `at` on, with one system call from one of the
    /// files. Returns how many.
    pub(super) fn read(&self, to: &mut Buffers<'_>, at: u64, limit: usize) -> io::Result<usize> {
        let wanted = u64::from(to.len()).min(limit as u64);
        let end = (at + wanted).div_ceil(SECTOR);
        let (is_private, end) = self.private.map.run(at / SECTOR, end);
        // The limit keeps a call from reading behind the run.
        let limit = index((end * SECTOR).saturating_sub(at)).min(limit);
        if is_private {
            self.private.file.read(to, self.private.place(at), limit)
        } else {
            self.base.read(to, at, limit)
        }
    }

    /// Writes at most `limit` bytes to byte `at` with one system call. Returns how many. If
    /// `at` is not the first byte of a sector, the bytes before it were written by the
    /// preceding call for the same request.
    pub(super) fn write(&self, from: &mut Buffers<'_>, at: u64, limit: usize) -> io::Result<usize> {
        let end = at + u64::from(from.len()).min(limit as u64);
        self.private.reserve(&(at..end))?;
        let count = self.private.file.write(from, self.private.place(at), limit)?;
        self.now_private(at, at + count as u64);
        Ok(count)
    }

    /// Makes all finished writes stable, if the private part is kept. Without `sync`, they
    /// only survive the end of this process.
    ///
    /// The map on the host must not have a bit whose sector is not stable. So the changed
    /// parts of the map are copied, then the data before them are made stable, then the
    /// copies are written.
    pub(super) fn flush(&self, sync: bool) -> io::Result<()> {
        if !self.private.is_kept() {
            return Ok(());
        }
        let _turn = self.wait_turn()?;
        let mut next = 0;
        loop {
            let changed = self.private.map.take_changed(&mut next);
            let synced = if sync { self.private.file.sync() } else { Ok(()) };
            let done = synced.and_then(|()| self.private.write_map(&changed));
            if done.is_err() {
                self.private.map.put_back(&changed);
                return done;
            }
            if changed.is_empty() {
                return Ok(());
            }
        }
    }

    /// Waits for the turn of this thread to flush. Returns if a signal interrupts it.
    pub(super) fn wait_turn(&self) -> io::Result<Turn<'_>> {
        sys::wait(&self.turn).map(|_| Turn(&self.turn))
    }

    /// Frees the blocks of `range`, which is zero afterwards. A host that cannot free blocks
    /// does nothing.
    pub(super) fn discard(&self, range: &Range<u64>) -> io::Result<()> {
        self.private.reserve(range)?;
        if self.private.file.discard(&self.private.places(range))? {
            self.now_private(range.start, range.end);
        }
        Ok(())
    }

    /// Clears the beginning of `range`. Returns how many bytes were cleared.
    pub(super) fn zero(&self, range: &Range<u64>, unmap: bool) -> io::Result<usize> {
        self.private.reserve(range)?;
        let count = self.private.file.zero(&self.private.places(range), unmap)?;
        self.now_private(range.start, range.start + count as u64);
        Ok(count)
    }

    /// Whether a sector is in the private part.
    pub(super) fn has_private_sectors(&self) -> bool {
        self.private.has_sectors()
    }

    /// Copies the private part to an empty file.
    pub(super) fn save(&self, to: &File) -> io::Result<()> {
        self.private.save(to)
    }

    /// The stamp of the file that does not change, from when the disk was opened.
    pub(super) fn stamp(&self) -> FileStamp {
        self.private.stamp()
    }

    /// Marks the sectors that end in this range of bytes as private. A sector of which only
    /// a part was written comes when its end is written.
    fn now_private(&self, start: u64, end: u64) {
        self.private.map.set(start / SECTOR..end / SECTOR);
    }
}

/// The right of one thread to flush.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a EventFd);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // The counter is 0, so that this neither fails nor blocks.
        let _ = self.0.write(1);
    }
}
