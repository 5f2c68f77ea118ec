//! The file or block device with a disk's contents, and the system calls on it. Its
//! length is fixed when it is opened: nothing here makes a file longer than it was then.
//! (If somebody truncates the file meanwhile, reads behind its end are errors; writes
//! make it longer again, up to its old length.) The queue threads of [`super::Block`]
//! share it without a lock.

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

/// The most bytes that one system call moves, so that a thread soon notices a request to
/// stop. Linux makes no requests of this size.
const PIECE: usize = 4 << 20;
/// The most bytes that go through a bounce buffer at once.
const BOUNCE: usize = 256 << 10;

/// The bytes that are written where the host has no faster way to clear.
static ZEROES: Zeroes = Zeroes([0; 1 << 20]);

/// Zeroes in memory that is aligned for direct I/O.
#[repr(align(4096))]
struct Zeroes([u8; 1 << 20]);

/// The contents of a disk: a file or a block device of the host.
#[derive(Debug)]
pub struct Image {
    file: File,
    name: String,
    length: u64,
    read_only: bool,
    /// The alignment of direct I/O, see [`Self::direct`].
    alignment: Option<u32>,
    sync: bool,
    block_device: bool,
    /// The kinds of [`ImageOp`] whose failure has been logged.
    warned: AtomicU8,
    /// A flush has failed: writes before it may be lost, and the kernel reports that
    /// only once.
    pub(super) flush_failed: AtomicBool,
}

/// The operations that can fail: bits of [`Image::warned`].
#[derive(Debug, Clone, Copy)]
enum ImageOp {
    Read = 1,
    Write = 2,
    Flush = 4,
    Discard = 8,
    Zero = 16,
}

impl Image {
    /// An image with the first `length` bytes of `file`, rounded down to whole sectors.
    /// Messages call it `name`.
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

    /// An image that the guest cannot change.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// An image that was opened with O_DIRECT: offsets, lengths and addresses must be
    /// multiples of `alignment`, a power of two. The disk has blocks of that size. If the
    /// guest's buffers are aligned differently, data go through a bounce buffer.
    #[must_use]
    pub fn direct(self, alignment: u32) -> Self {
        let alignment = alignment.max(512);
        let length = self.length - self.length % u64::from(alignment);
        Self { alignment: Some(alignment), length, ..self }
    }

    /// An image that answers flushes without fdatasync(2): for contents that nobody needs
    /// after a crash of the host.
    #[must_use]
    pub fn without_sync(self) -> Self {
        Self { sync: false, ..self }
    }

    /// The length in bytes that the guest sees: whole blocks.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of a block: the guest reads and writes only whole blocks.
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

    /// Reads with one system call from byte `at` on. Returns how many bytes, at least one.
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

    /// Writes with one system call to byte `at`. Returns how many bytes, at least one.
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

    /// Makes all finished writes stable.
    pub(super) fn flush(&self) -> io::Result<()> {
        if !self.sync || self.read_only {
            return Ok(());
        }
        let done = sys::fdatasync(self.file.as_fd());
        match &done {
            // The kernel may have reported a loss to another thread.
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

    /// Discards `range`: the guest does not need its contents any more. Returns how many
    /// bytes were discarded. A host that cannot discard does nothing.
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

    /// Clears the beginning of `range` in the fastest way that the host has. Returns how
    /// many bytes were cleared. With `unmap`, the host may free their blocks.
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

    /// Makes a hole in the file.
    fn punch(&self, range: &Range<u64>) -> io::Result<()> {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        sys::fallocate(self.file.as_fd(), mode, range)
    }

    /// Returns a bounce buffer, if direct I/O cannot use the guest's buffers.
    fn bounce(&self, buffers: &Buffers<'_>) -> Option<Bounce> {
        let alignment = index(self.alignment?);
        if buffers.is_aligned(alignment) {
            return None;
        }
        let length = index(buffers.len()).min(BOUNCE);
        Some(Bounce::new(length, alignment))
    }

    /// Returns how many bytes a system call moved. 0 is an error: the file has become shorter.
    fn moved(&self, op: ImageOp, done: io::Result<usize>) -> io::Result<u64> {
        match self.warn_once(op, done)? {
            0 => self.warn_once(op, Err(io::Error::other("the file is shorter than it was"))),
            count => Ok(count as u64),
        }
    }

    /// Logs the first failure of an operation. The guest gets every failure as an I/O
    /// error.
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

/// Whether an error says that the host has to do an operation in another way.
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

/// A buffer whose bytes are aligned for direct I/O.
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
