//! The contents of a disk. Its length is fixed when it is opened: nothing here makes a file
//! longer than it was then. (If somebody truncates the file meanwhile, reads behind its end
//! are errors; writes make it longer again, up to its old length.) The queue threads of
//! [`super::Block`] share it without a lock.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::SECTOR;
use super::cow::{Cow, FileStamp, PrivateFile};
use super::file::HostFile;
use crate::request::Buffers;

/// The most bytes that one system call moves, so that a thread soon notices a request to
/// stop. Linux makes no requests of this size.
const PIECE: usize = 4 << 20;

/// The contents of a disk: a file or a block device of the host, perhaps with a private
/// part that takes the guest's writes.
#[derive(Debug)]
pub struct Image {
    storage: Storage,
    name: String,
    length: u64,
    read_only: bool,
    sync: bool,
    /// The kinds of [`ImageOp`] whose failure has been logged.
    warned: AtomicU8,
    /// A flush has failed: writes before it may be lost, and the kernel reports that
    /// only once.
    pub(super) flush_failed: AtomicBool,
}

/// Where the bytes of an image are.
#[derive(Debug)]
enum Storage {
    /// In one file.
    File(HostFile),
    /// In a file that does not change, and in the private part.
    Cow(Box<Cow>),
}

/// The operations that can fail: bits of [`Image::warned`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        Ok(Self::with(Storage::File(HostFile::new(file)?), name.into(), length))
    }

    /// An image with the bytes of `base`, which is never written: what the guest writes goes
    /// to `private`. The length is the one that `private` was made for.
    ///
    /// # Errors
    /// When the host cannot tell what kind of file `base` is, or has no eventfd left.
    pub fn copy_on_write(
        base: File,
        private: PrivateFile,
        name: impl Into<String>,
    ) -> io::Result<Self> {
        let length = private.length();
        let cow = Cow::new(HostFile::new(base)?, private)?;
        Ok(Self::with(Storage::Cow(Box::new(cow)), name.into(), length))
    }

    fn with(storage: Storage, name: String, length: u64) -> Self {
        Self {
            storage,
            name,
            length: length - length % SECTOR,
            read_only: false,
            sync: true,
            warned: AtomicU8::new(0),
            flush_failed: AtomicBool::new(false),
        }
    }

    /// An image that the guest cannot change.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// An image that was opened with O_DIRECT: offsets, lengths and addresses must be
    /// multiples of `alignment`, a power of two. The disk has blocks of that size. If the
    /// guest's buffers are aligned differently, data go through a bounce buffer. A
    /// copy-on-write image stays as it is, because it has no direct I/O.
    #[must_use]
    pub fn direct(mut self, alignment: u32) -> Self {
        let alignment = alignment.max(512);
        if let Storage::File(file) = &mut self.storage {
            file.alignment = Some(alignment);
            self.length -= self.length % u64::from(alignment);
        }
        self
    }

    /// An image that answers flushes without fdatasync(2): for contents that nobody needs
    /// after a crash of the host.
    #[must_use]
    pub fn without_sync(mut self) -> Self {
        self.sync = false;
        self
    }

    /// The length in bytes that the guest sees: whole blocks.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of a block: the guest reads and writes only whole blocks.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.alignment().unwrap_or(512)
    }

    /// Copies the private part of a copy-on-write image to `to`, an empty file: all that the
    /// guest has written so far, as a file that [`PrivateFile::copied`] and
    /// [`PrivateFile::kept`] accept. It is sparse, and shares blocks with the private part
    /// where the file system can do that. It is not flushed. The guest must be paused, so
    /// that no write is done halfway.
    ///
    /// # Errors
    /// Those of the host, and [`io::ErrorKind::Unsupported`] if the image is not
    /// copy-on-write.
    pub fn save_private(&self, to: &File) -> io::Result<()> {
        match &self.storage {
            Storage::Cow(cow) => cow.save(to),
            Storage::File(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether a guest has written to the private part of a copy-on-write image.
    #[must_use]
    pub fn has_private_sectors(&self) -> bool {
        matches!(&self.storage, Storage::Cow(cow) if cow.has_private_sectors())
    }

    /// Whether the guest writes to a private part.
    #[must_use]
    pub fn is_copy_on_write(&self) -> bool {
        matches!(self.storage, Storage::Cow(_))
    }

    /// The stamp of the image's file: as it is now, or as it was when a copy-on-write image
    /// was opened.
    ///
    /// # Errors
    /// When the host cannot tell.
    pub fn stamp(&self) -> io::Result<FileStamp> {
        match &self.storage {
            Storage::Cow(cow) => Ok(cow.stamp()),
            Storage::File(file) => {
                let metadata = file.file().metadata()?;
                let is_file = metadata.file_type().is_file();
                Ok(FileStamp::new(&metadata, if is_file { metadata.len() } else { self.length }))
            }
        }
    }

    /// Whether the guest cannot change the image.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(super) fn is_direct(&self) -> bool {
        self.alignment().is_some()
    }

    fn alignment(&self) -> Option<u32> {
        match &self.storage {
            Storage::File(file) => file.alignment,
            Storage::Cow(_) => None,
        }
    }

    /// Reads with one system call from byte `at` on. Returns how many bytes, at least one.
    pub(super) fn read(&self, to: &mut Buffers<'_>, at: u64) -> io::Result<u64> {
        let done = match &self.storage {
            Storage::File(file) => file.read(to, at, PIECE),
            Storage::Cow(cow) => cow.read(to, at, PIECE),
        };
        self.moved(ImageOp::Read, done)
    }

    /// Writes with one system call to byte `at`. Returns how many bytes, at least one.
    pub(super) fn write(&self, from: &mut Buffers<'_>, at: u64) -> io::Result<u64> {
        let done = match &self.storage {
            Storage::File(file) => file.write(from, at, PIECE),
            Storage::Cow(cow) => cow.write(from, at, PIECE),
        };
        self.moved(ImageOp::Write, done)
    }

    /// Makes all finished writes stable, as a flush of the guest does.
    ///
    /// # Errors
    /// Errors of the host, and if writes may have been lost before.
    pub fn flush(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        let done = match &self.storage {
            Storage::File(_) if !self.sync => return Ok(()),
            Storage::File(file) => file.sync(),
            // The map on the host stays as it was at the last flush that succeeded.
            Storage::Cow(_) if self.has_lost() => return Err(lost()),
            Storage::Cow(cow) => cow.flush(self.sync),
        };
        match &done {
            // The kernel may have reported a loss to another thread.
            Ok(()) if self.has_lost() => Err(lost()),
            Ok(()) => Ok(()),
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.flush_failed.store(true, Ordering::Release);
                }
                self.warn_once(ImageOp::Flush, done)
            }
        }
    }

    fn has_lost(&self) -> bool {
        self.flush_failed.load(Ordering::Acquire)
    }

    /// Discards `range`: the guest does not need its contents any more. Returns how many
    /// bytes were discarded. A host that cannot discard does nothing.
    pub(super) fn discard(&self, range: &Range<u64>) -> io::Result<u64> {
        let done = match &self.storage {
            Storage::File(file) => file.discard(range).map(drop),
            Storage::Cow(cow) => cow.discard(range),
        };
        self.warn_once(ImageOp::Discard, done)?;
        Ok(range.end - range.start)
    }

    /// Clears the beginning of `range` in the fastest way that the host has. Returns how
    /// many bytes were cleared. With `unmap`, the host may free their blocks.
    pub(super) fn zero(&self, range: &Range<u64>, unmap: bool) -> io::Result<u64> {
        let done = match &self.storage {
            Storage::File(file) => file.zero(range, unmap),
            Storage::Cow(cow) => cow.zero(range, unmap),
        };
        self.moved(ImageOp::Zero, done)
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
            let (name, part) = (&self.name, self.part(op));
            log::warn!("{name}: {part}{}: {error}: the guest gets {}", op.name(), op.result());
        }
        done
    }

    /// The part of the disk that an operation changes, for messages.
    fn part(&self, op: ImageOp) -> &'static str {
        match self.storage {
            Storage::Cow(_) if op != ImageOp::Read => "private part: ",
            _ => "",
        }
    }
}

impl Drop for Image {
    /// Has a private part that is kept know all writes of the guest.
    fn drop(&mut self) {
        let Storage::Cow(cow) = &self.storage else { return };
        if self.has_lost() {
            return;
        }
        if let Err(error) = cow.flush(self.sync) {
            let name = &self.name;
            log::warn!(
                "{name}: private part: flushing: {error}: what the guest wrote after its last \
                 flush is lost"
            );
        }
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

/// The error of a flush after one that failed.
fn lost() -> io::Error {
    io::Error::other("lost before")
}
