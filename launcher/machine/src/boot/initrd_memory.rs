//! Whether a guest has the memory that its initial file systems take when its kernel unpacks
//! them. Where it has not, Linux loses files without a word on any console that a user sees,
//! so [`super::initrd`] asks here before the guest starts.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use super::cmdline;
use super::unpack::{Codec, UnpackReader};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

/// An archive's header (Documentation/driver-api/early-userspace/buffer-format.rst): a magic
/// number of six letters, then 13 numbers of eight hexadecimal digits.
const MAGIC: [&[u8]; 2] = [b"070701", b"070702"];
const HEADER: usize = 110;
const MODE: usize = 1;
const SIZE: usize = 6;
const NAME_SIZE: usize = 11;

/// Bits of a mode that tell the kind of file, and those of a regular file.
const KIND: u64 = 0o170_000;
const REGULAR: u64 = 0o100_000;

/// More zeroes than this between two archives are not an archive's padding.
const MOST_PADDING: u64 = MIB;

/// Packed files become at most so many times as large, as far as is looked: unpacking takes
/// time, and there is no need for it where the guest has that much memory.
const LARGEST_RATIO: u64 = 16;

/// The guest's memory, as its kernel finds it when it makes its first file system.
#[derive(Debug, Clone, Copy)]
pub(super) struct InitrdMemory {
    /// All of it, in bytes.
    pub(super) ram: u64,
    /// What the kernel takes up.
    pub(super) kernel: u64,
    /// What the initial file systems take up as they are loaded.
    pub(super) packed: u64,
    /// The first file system is a tmpfs, which takes half of what is free.
    pub(super) half: bool,
}

impl InitrdMemory {
    /// Linux has its list of pages, 64 bytes for each, and its hash tables.
    fn free(self) -> u64 {
        let own = self.ram / 64 + self.ram / 512;
        self.ram.saturating_sub(own + self.kernel + self.packed)
    }

    /// So many bytes of files can be unpacked.
    pub(super) fn for_files(self) -> u64 {
        if self.half { self.free() / 2 } else { self.free() }
    }

    /// With so much memory, in MiB, files of this size could be unpacked.
    pub(super) fn wanted(self, files: u64) -> u64 {
        let files = if self.half { files.saturating_mul(2) } else { files };
        let rest = files.saturating_add(self.kernel).saturating_add(self.packed);
        // The inverse of what is in free().
        (rest.saturating_add(rest / 32)).div_ceil(MIB).next_multiple_of(64)
    }
}

/// Linux unpacks into a tmpfs, unless the root file system is another (init_rootfs() in
/// init/do_mounts.c).
pub(super) fn is_tmpfs(arguments: &[OsString]) -> bool {
    let value = |name| cmdline::value_of(name, arguments);
    value("root").is_none()
        && value("initramfs_options").is_none()
        && value("rootfstype").is_none_or(|kinds| kinds.contains("tmpfs"))
}

/// How many bytes the files in this initial file system take in the guest's memory; less where
/// the kernel would not understand it either, or where it is packed and the guest has plenty.
///
/// # Errors
/// When it cannot be read.
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
    // What does not unpack the guest's kernel reports.
    let inside = count(&mut inside).map_or(0, |counted| counted.bytes);
    Ok(counted.bytes.saturating_add(inside))
}

/// What was counted of a stream of archives.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    bytes: u64,
    /// Where something follows that is not an archive.
    packed_at: Option<u64>,
}

/// Where bytes that nobody wants are left out.
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
        // Both are padded; the header is a multiple of 4 but for 2 bytes.
        let name = (name + HEADER as u64).next_multiple_of(4) - HEADER as u64;
        let length = name + size.next_multiple_of(4);
        from.skip(length)?;
        position = position.saturating_add(HEADER as u64 + length);
    }
}

/// Whether there were as many bytes.
fn filled(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The length of a file and of its name, if this is an archive's header.
fn fields(header: &[u8]) -> Option<(u64, u64)> {
    MAGIC.iter().any(|magic| header.starts_with(magic)).then_some(())?;
    Some((number(header, SIZE)?, number(header, NAME_SIZE)?))
}

/// The number of this index: at most 32 bits, so that sums of a few do not overflow.
fn number(header: &[u8], index: usize) -> Option<u64> {
    let start = 6 + index * 8;
    let digits = std::str::from_utf8(header.get(start..start + 8)?).ok()?;
    u32::from_str_radix(digits, 16).ok().map(u64::from)
}

#[cfg(test)]
mod tests;
