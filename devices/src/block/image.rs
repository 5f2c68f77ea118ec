//! The file or block device that a disk's contents are in, and what the host
//! does with it. Its length is fixed when it is opened: nothing here makes a
//! file longer than it was then. (One that somebody truncates under way reads
//! as errors from there on; writing grows it again, to its old length at most.)
//! Shared by the queue threads of [`super::Block`], without a lock.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::SECTOR;
use crate::number::index;
use crate::request::Buffers;
use crate::sys;

/// What one call of the host moves at most, so that a thread hears soon that it
/// is to stop. No request of Linux is as large.
const PIECE: usize = 4 << 20;
/// The most bytes that go through a bounce buffer at once.
const BOUNCE: usize = 256 << 10;

/// What is written where the host has no quicker way to clear.
static ZEROES: Zeroes = Zeroes([0; 1 << 20]);

/// Direct I/O takes it from here, too.
#[repr(align(4096))]
struct Zeroes([u8; 1 << 20]);

/// See the module.
#[derive(Debug)]
pub struct Image {
    file: File,
    name: String,
    length: u64,
    read_only: bool,
    /// For files opened with O_DIRECT, see [`Self::direct`].
    alignment: Option<u32>,
    sync: bool,
    block_device: bool,
    /// The kinds of [`ImageOp`] whose failure has been logged.
    warned: AtomicU8,
    /// A flush failed: what was written before it may be lost, and the kernel
    /// tells so only once.
    pub(super) flush_failed: AtomicBool,
}

/// What can fail: bits of [`Image::warned`], with the words for it.
#[derive(Debug, Clone, Copy)]
enum ImageOp {
    Read = 1,
    Write = 2,
    Flush = 4,
    Discard = 8,
    Zero = 16,
}

impl Image {
    /// What is in `file`, which messages call `name`: its first `length` bytes,
    /// as far as these are whole sectors.
    ///
    /// # Errors
    /// When the host cannot tell what kind of file it is.
    pub fn new(file: File, name: impl Into<String>, length: u64) -> io::Result<Self> {
        let block_device = file.metadata()?.file_type().is_block_device();
        Ok(Self {
            file,
            name: name.into(),
            length: length - length % SECTOR,
            read_only: false,
            alignment: None,
            sync: true,
            block_device,
            warned: AtomicU8::new(0),
            flush_failed: AtomicBool::new(false),
        })
    }

    /// The guest cannot change it.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// It was opened with O_DIRECT, which wants offsets, lengths and addresses
    /// in multiples of `alignment`, a power of two. The guest is told to use
    /// blocks of that size, and has no others; where its memory is aligned
    /// otherwise, data go through a buffer.
    #[must_use]
    pub fn direct(self, alignment: u32) -> Self {
        let alignment = alignment.max(512);
        let length = self.length - self.length % u64::from(alignment);
        Self { alignment: Some(alignment), length, ..self }
    }

    /// Answer flushes without making anything stable: for images that nobody
    /// needs after a crash of the host.
    #[must_use]
    pub fn without_sync(self) -> Self {
        Self { sync: false, ..self }
    }

    /// Bytes that the guest sees: whole blocks.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The block that the guest may not go below.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.alignment.unwrap_or(512)
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(super) fn is_direct(&self) -> bool {
        self.alignment.is_some()
    }

    /// Read from byte `at` on what one call reads, at least a byte; how much.
    pub(super) fn read(&self, to: &mut Buffers<'_>, at: u64) -> io::Result<u64> {
        let done = match self.bounce(to) {
            None => to.read_from_at(self.file.as_fd(), at, PIECE),
            Some(mut bytes) => {
                let read = self.file.read_at(bytes.aligned(), at);
                read.map(|count| to.put(bytes.aligned().get(..count).unwrap_or_default()))
            }
        };
        self.moved(ImageOp::Read, done)
    }

    /// Write to byte `at` what one call writes, at least a byte; how much.
    pub(super) fn write(&self, from: &mut Buffers<'_>, at: u64) -> io::Result<u64> {
        let done = match self.bounce(from) {
            None => from.write_to_at(self.file.as_fd(), at, PIECE),
            Some(mut bytes) => {
                from.peek(bytes.aligned());
                let written = self.file.write_at(bytes.aligned(), at);
                written.inspect(|count| from.consume(*count))
            }
        };
        self.moved(ImageOp::Write, done)
    }

    /// Make everything written so far stable.
    pub(super) fn flush(&self) -> io::Result<()> {
        if !self.sync || self.read_only {
            return Ok(());
        }
        let done = sys::fdatasync(self.file.as_fd());
        match &done {
            // Another thread may have been told instead of us.
            Ok(()) if self.flush_failed.load(Ordering::Acquire) => {
                Err(io::Error::other("lost before"))
            }
            Ok(()) => Ok(()),
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.flush_failed.store(true, Ordering::Release);
                }
                self.warn_once(ImageOp::Flush, done)
            }
        }
    }

    /// Nobody needs `range` any more; how much of it is done. It is a hint: a
    /// host that cannot make use of it does nothing.
    pub(super) fn discard(&self, range: &Range<u64>) -> io::Result<u64> {
        let done = if self.block_device {
            sys::discard(self.file.as_fd(), range)
        } else {
            self.punch(range)
        };
        let done = done.or_else(|error| if is_unsupported(&error) { Ok(()) } else { Err(error) });
        self.warn_once(ImageOp::Discard, done)?;
        Ok(range.end - range.start)
    }

    /// Have the beginning of `range` read as zeroes, by the quickest way that the
    /// host has; how much of it. With `unmap`, its room is given back.
    pub(super) fn zero(&self, range: &Range<u64>, unmap: bool) -> io::Result<u64> {
        let mut done = Err(io::ErrorKind::Unsupported.into());
        if unmap {
            done = self.punch(range);
        }
        if is_unsupported_result(&done) {
            let mode = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
            done = sys::fallocate(self.file.as_fd(), mode, range);
        }
        if is_unsupported_result(&done) {
            let length = index(range.end - range.start);
            let zeroes = ZEROES.0.get(..length).unwrap_or(&ZEROES.0);
            return self.moved(ImageOp::Zero, self.file.write_at(zeroes, range.start));
        }
        self.warn_once(ImageOp::Zero, done)?;
        Ok(range.end - range.start)
    }

    /// Make a hole in the file.
    fn punch(&self, range: &Range<u64>) -> io::Result<()> {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        sys::fallocate(self.file.as_fd(), mode, range)
    }

    /// A buffer, if direct I/O cannot use the guest's as they lie.
    fn bounce(&self, buffers: &Buffers<'_>) -> Option<Bounce> {
        let alignment = index(self.alignment?);
        if buffers.is_aligned(alignment) {
            return None;
        }
        let length = index(buffers.len()).min(BOUNCE);
        Some(Bounce::new(length, alignment))
    }

    /// Bytes that a call moved. None means that the call moved nothing, or had no room.
    fn moved(&self, op: ImageOp, done: io::Result<usize>) -> io::Result<u64> {
        match self.warn_once(op, done)? {
            0 => self.warn_once(op, Err(io::Error::other("the file is shorter than it was"))),
            count => Ok(count as u64),
        }
    }

    /// Tell the user when something fails for the first time, and go on: it is
    /// the guest's to cope with.
    fn warn_once<T>(&self, op: ImageOp, done: io::Result<T>) -> io::Result<T> {
        let Err(error) = &done else { return done };
        let bit = op as u8;
        if error.kind() != io::ErrorKind::Interrupted
            && self.warned.fetch_or(bit, Ordering::Relaxed) & bit == 0
        {
            log::warn!("{}: {}: {error}: the guest gets {}", self.name, op.name(), op.result());
        }
        done
    }
}

impl ImageOp {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Flush => "flushing",
            Self::Discard => "discarding",
            Self::Zero => "writing zeroes",
        }
    }

    fn result(self) -> &'static str {
        match self {
            Self::Flush => {
                "I/O errors for every flush from now on, since what it wrote before may be lost"
            }
            _ => "I/O errors (this is said once)",
        }
    }
}

/// Whether there may be another way to do it.
fn is_unsupported(error: &io::Error) -> bool {
    // EINVAL comes from block devices whose blocks are larger than the range's,
    // ENODEV from files that are not disks.
    let known = [libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::ENODEV];
    error.kind() == io::ErrorKind::Unsupported
        || error.raw_os_error().is_some_and(|error| known.contains(&error))
}

fn is_unsupported_result(done: &io::Result<()>) -> bool {
    done.as_ref().is_err_and(is_unsupported)
}

/// Memory of ours that is aligned as direct I/O wants it.
struct Bounce {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Bounce {
    fn new(length: usize, alignment: usize) -> Self {
        let bytes = vec![0; length + alignment];
        let start = bytes.as_ptr().align_offset(alignment);
        Self { bytes, start, length }
    }

    fn aligned(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}
