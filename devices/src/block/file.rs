//! The system calls on a file or block device of the host. The length of the file is not
//! known here: the callers stay within it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt};

use crate::number::index;
use crate::request::Buffers;
use crate::sys;

/// The most bytes that go through a bounce buffer at once.
const BOUNCE: usize = 256 << 10;

/// The bytes that are written where the host has no faster way to clear.
static ZEROES: Zeroes = Zeroes([0; 1 << 20]);

/// Zeroes in memory that is aligned for direct I/O.
#[repr(align(4096))]
struct Zeroes([u8; 1 << 20]);

/// A file or a block device of the host.
#[derive(Debug)]
pub(super) struct HostFile {
    file: File,
    /// The alignment in bytes of direct I/O, if the file was opened for it.
    pub(super) alignment: Option<u32>,
    block_device: bool,
}

impl HostFile {
    /// The file behind a descriptor.
    ///
    /// # Errors
    /// When the host cannot tell what kind of file it is.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let block_device = file.metadata()?.file_type().is_block_device();
        Ok(Self { file, alignment: None, block_device })
    }

    /// The file itself.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The file's descriptor.
    fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reads at most `limit` bytes with one system call from byte `at` on. Returns how many.
    pub(super) fn read(&self, to: &mut Buffers<'_>, at: u64, limit: usize) -> io::Result<usize> {
        match self.bounce(to) {
            None => to.read_from_at(self.fd(), at, limit),
            Some(mut bytes) => {
                let read = self.file.read_at(bytes.aligned(), at);
                read.map(|count| to.put(bytes.aligned().get(..count).unwrap_or_default()))
            }
        }
    }

    /// Writes at most `limit` bytes with one system call to byte `at`. Returns how many.
    pub(super) fn write(&self, from: &mut Buffers<'_>, at: u64, limit: usize) -> io::Result<usize> {
        match self.bounce(from) {
            None => from.write_to_at(self.fd(), at, limit),
            Some(mut bytes) => {
                from.peek(bytes.aligned());
                let written = self.file.write_at(bytes.aligned(), at);
                written.inspect(|count| from.consume(*count))
            }
        }
    }

    /// Makes all finished writes stable (fdatasync). Returns if a signal interrupts it.
    pub(super) fn sync(&self) -> io::Result<()> {
        sys::fdatasync(self.fd())
    }

    /// Discards `range`. Returns false if the host cannot discard: nothing has changed then.
    pub(super) fn discard(&self, range: &Range<u64>) -> io::Result<bool> {
        let done =
            if self.block_device { sys::discard(self.fd(), range) } else { self.punch(range) };
        match done {
            Ok(()) => Ok(true),
            Err(error) if is_unsupported(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Clears the beginning of `range` in the fastest way that the host has. Returns how
    /// many bytes were cleared. With `unmap`, the host may free their blocks.
    pub(super) fn zero(&self, range: &Range<u64>, unmap: bool) -> io::Result<usize> {
        let mut done = Err(io::ErrorKind::Unsupported.into());
        if unmap {
            done = self.punch(range);
        }
        if is_unsupported_result(&done) {
            let mode = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
            done = sys::fallocate(self.fd(), mode, range);
        }
        let length = index(range.end - range.start);
        if is_unsupported_result(&done) {
            let zeroes = ZEROES.0.get(..length).unwrap_or(&ZEROES.0);
            return self.file.write_at(zeroes, range.start);
        }
        done.map(|()| length)
    }

    /// Allocates the blocks of `range`, whose bytes do not change. Does nothing on a host
    /// that cannot allocate them before they are written.
    pub(super) fn allocate(&self, range: &Range<u64>) -> io::Result<()> {
        let done = sys::fallocate(self.fd(), libc::FALLOC_FL_KEEP_SIZE, range);
        if is_unsupported_result(&done) { Ok(()) } else { done }
    }

    /// Makes a hole in the file.
    fn punch(&self, range: &Range<u64>) -> io::Result<()> {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        sys::fallocate(self.fd(), mode, range)
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
