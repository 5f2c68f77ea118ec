//! Checks whether a guest has the memory that its initial file systems take when its kernel unpacks
//! them. If it does not, Linux loses files without a message on any console that a user sees, so
//! [`super::initrd`] checks this before the guest starts.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use super::cmdline;
use super::unpack::{Codec, UnpackReader};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

// An archive's header (Documentation/driver-api/early-userspace/buffer-format.rst): a magic
// number of six letters, then 13 numbers of eight hexadecimal digits. The lengths are in bytes, and
// the others are indices of numbers.
const MAGIC: [&[u8]; 2] = [b"070701", b"070702"];
const HEADER: usize = 110;
const MODE: usize = 1;
const SIZE: usize = 6;
const NAME_SIZE: usize = 11;

/// The bits of a mode that are the type of a file (S_IFMT).
const KIND: u64 = 0o170_000;
/// The type of a regular file (S_IFREG).
const REGULAR: u64 = 0o100_000;

/// The largest number of zero bytes between two archives that are padding.
const MOST_PADDING: u64 = MIB;

/// The factor by which packed files grow at most. A guest that has this much memory is not checked
/// further, because unpacking takes time.
const LARGEST_RATIO: u64 = 16;

/// The guest's memory at the time when its kernel unpacks the initial file systems.
#[derive(Debug, Clone, Copy)]
pub(super) struct InitrdMemory {
    /// The size of the guest's memory in bytes.
    pub(super) ram: u64,
    /// The bytes that the kernel occupies.
    pub(super) kernel: u64,
    /// The bytes that the initial file systems occupy as they are loaded.
    pub(super) packed: u64,
    /// Whether the first file system is a tmpfs, which takes half of the free memory.
    pub(super) half: bool,
}

impl InitrdMemory {
    /// The bytes that are free. Linux needs some for its list of pages, 64 bytes for each, and for
    /// its hash tables.
    fn free(self) -> u64 {
        let own = self.ram / 64 + self.ram / 512;
        self.ram.saturating_sub(own + self.kernel + self.packed)
    }

    /// The number of bytes of files that can be unpacked.
    pub(super) fn for_files(self) -> u64 {
        if self.half { self.free() / 2 } else { self.free() }
    }

    /// The size of guest memory, in MiB, with which files of this size (in bytes) can be unpacked.
    pub(super) fn wanted(self, files: u64) -> u64 {
        let files = if self.half { files.saturating_mul(2) } else { files };
        let rest = files.saturating_add(self.kernel).saturating_add(self.packed);
        // The inverse of free().
        (rest.saturating_add(rest / 32)).div_ceil(MIB).next_multiple_of(64)
    }
}

/// Whether Linux unpacks into a tmpfs. It does, unless these words of the command line name another
/// root file system (init_rootfs() in init/do_mounts.c).
pub(super) fn is_tmpfs(arguments: &[OsString]) -> bool {
    let value = |name| cmdline::value_of(name, arguments);
    value("root").is_none()
        && value("initramfs_options").is_none()
        && value("rootfstype").is_none_or(|kinds| kinds.contains("tmpfs"))
}

/// The number of bytes that the files of this initial file system take in the guest's memory. Less
/// is returned if the kernel would not understand the archive either, or if it is packed and the
/// guest has plenty of memory.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn unpacked(mut file: &File, length: u64, ram: u64) -> io::Result<u64> {
    let mut plain = BufReader::new(file);
    let counted = count(&mut plain)?;
    let Some(packed_at) = counted.packed_at else { return Ok(counted.bytes) };
    let packed_length = length.saturating_sub(packed_at);
    if packed_length.saturating_mul(LARGEST_RATIO) < ram {
        return Ok(counted.bytes);
    }
    file.seek(SeekFrom::Start(packed_at))?;
    let mut head = Vec::new();
    file.take(8).read_to_end(&mut head)?;
    let Some(codec) = Codec::of(&head) else { return Ok(counted.bytes) };
    file.seek(SeekFrom::Start(packed_at))?;
    let packed = BufReader::new(file);
    let mut inside = BufReader::new(UnpackReader::new(codec, packed)?);
    // The guest's kernel reports an archive that it cannot unpack.
    let inside = count(&mut inside).map_or(0, |counted| counted.bytes);
    Ok(counted.bytes.saturating_add(inside))
}

/// The count of a stream of archives.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    bytes: u64,
    /// The offset of the first bytes that are not an archive.
    packed_at: Option<u64>,
}

/// A stream that can skip bytes.
trait Skip: BufRead {
    fn skip(&mut self, length: u64) -> io::Result<()>;
}

impl Skip for BufReader<&File> {
    fn skip(&mut self, length: u64) -> io::Result<()> {
        self.seek_relative(i64::try_from(length).map_err(io::Error::other)?)
    }
}

impl<R: BufRead> Skip for BufReader<UnpackReader<R>> {
    fn skip(&mut self, length: u64) -> io::Result<()> {
        io::copy(&mut self.by_ref().take(length), &mut io::sink()).map(drop)
    }
}

fn count(from: &mut impl Skip) -> io::Result<Counted> {
    let (mut counted, mut position, mut padding) = (Counted::default(), 0_u64, 0_u64);
    let mut header = [0; HEADER];
    loop {
        let (word, rest) = header.split_at_mut(4);
        if !filled(from, word)? {
            return Ok(counted);
        }
        if word.iter().all(|byte| *byte == 0) {
            position += 4;
            padding += 4;
            if padding > MOST_PADDING {
                return Ok(counted);
            }
            continue;
        }
        let whole = filled(from, rest)?;
        let Some((size, name)) = whole.then(|| fields(&header)).flatten() else {
            counted.packed_at = Some(position);
            return Ok(counted);
        };
        padding = 0;
        let regular = number(&header, MODE).is_some_and(|mode| mode & KIND == REGULAR);
        if regular {
            counted.bytes = counted.bytes.saturating_add(size.next_multiple_of(PAGE));
        }
        // Name and contents are padded to 4 bytes. The header is 2 bytes short of a multiple of 4.
        let name = (name + HEADER as u64).next_multiple_of(4) - HEADER as u64;
        let length = name + size.next_multiple_of(4);
        from.skip(length)?;
        position = position.saturating_add(HEADER as u64 + length);
    }
}

/// Fill `bytes` from a stream. Returns false if the stream ends before that.
fn filled(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The length of a file and of its name. `None` if this is not an archive's header.
fn fields(header: &[u8]) -> Option<(u64, u64)> {
    MAGIC.iter().any(|magic| header.starts_with(magic)).then_some(())?;
    Some((number(header, SIZE)?, number(header, NAME_SIZE)?))
}

/// The number of this index in a header. It has at most 32 bits, so that sums of a few do not
/// overflow.
fn number(header: &[u8], index: usize) -> Option<u64> {
    let start = 6 + index * 8;
    let digits = std::str::from_utf8(header.get(start..start + 8)?).ok()?;
    u32::from_str_radix(digits, 16).ok().map(u64::from)
}

#[cfg(test)]
mod tests;
