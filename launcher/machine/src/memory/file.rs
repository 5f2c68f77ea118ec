//! Guest memory in a file of a snapshot. The file has the bytes of the launcher's one mapping, in
//! the same order: RAM below the hole, then RAM above it. Pages of zeroes are holes of the file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::{io, iter};

use anyhow::{Context, Result, ensure};
use devices::number::index;
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress};

use super::pagemap::Pagemap;
use super::{Ram, explain};

/// The number of bytes that are read from guest memory, and written to the file, at once.
const CHUNK: usize = 1 << 20;
/// The granularity in bytes of the file's holes.
pub(super) const PAGE: usize = 4096;

impl Ram {
    /// Write all of the memory to a file, in place of what the file has. Nothing may write to the
    /// memory meanwhile. Returns the file's [`checksum`]. `goes_on` is asked between pieces
    /// whether to continue.
    ///
    /// # Errors
    /// When the file cannot be written, because its file system is full, for example; or
    /// `Interrupted`, if `goes_on` has said no. The file is then not complete.
    pub fn save(&self, file: &File, goes_on: &dyn Fn() -> bool) -> io::Result<u32> {
        // All of the file becomes a hole.
        file.set_len(0)?;
        file.set_len(self.size())?;
        let (mut position, mut sum) = (0, crc32fast::Hasher::new());
        // A page of a file that was never touched has the contents of the file.
        let pagemap = if self.mapping.has_file() { None } else { Pagemap::open() };
        for region in self.memory.iter() {
            save_region((region, pagemap.as_ref()), (file, position), &mut sum, goes_on)?;
            position += region.len();
        }
        Ok(sum.finalize())
    }

    /// Memory of `size` bytes with the contents of a file that [`Self::save`] has written. The host
    /// reads a page of the file when the guest first touches it, and never writes to the file.
    /// Nothing may write to the file, or shorten it, while this process exists.
    ///
    /// # Errors
    /// When the file has another length, or the host's limits do not allow that much memory.
    pub fn restored(size: u64, file: &File) -> Result<Self> {
        let found = file.metadata().context("reading the length of the memory file")?;
        ensure!(found.is_file(), "the memory file is not a regular file");
        let length = found.len();
        ensure!(
            length == size,
            "the memory file has {length} bytes, and the guest's memory has {size}"
        );
        let ram = Self::new(size)?;
        ram.mapping.map_file(file).map_err(explain).context("mapping the memory file")?;
        Ok(ram)
    }
}

/// Write a region to the file, from `start` on, and add it to the checksum.
fn save_region(
    (region, pagemap): (&GuestRegionMmap, Option<&Pagemap>),
    (file, start): (&File, u64),
    sum: &mut crc32fast::Hasher,
    goes_on: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    for offset in (0..region.len()).step_by(CHUNK) {
        if !goes_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = index(region.len() - offset).min(CHUNK);
        let address =
            region.get_host_address(MemoryRegionAddress(offset)).map_err(io::Error::other)?;
        // Reading untouched memory would take time, and page tables.
        if pagemap.is_some_and(|pagemap| pagemap.is_untouched(address.addr(), length)) {
            continue;
        }
        let chunk = buffer.get_mut(..length).unwrap_or_default();
        let guest = region.get_slice(MemoryRegionAddress(offset), length);
        guest.map_err(io::Error::other)?.copy_to(chunk);
        for (position, bytes) in data(chunk, start + offset) {
            file.write_all_at(bytes, position)?;
            add(sum, position, bytes);
        }
    }
    Ok(())
}

/// The checksum of a memory file of `size` bytes: CRC-32 of its pages that are not zero, each run
/// of them after its position. So holes cost nothing.
///
/// # Errors
/// When the file cannot be read, or is shorter.
pub fn checksum(file: &File, size: u64) -> io::Result<u32> {
    let (mut buffer, mut sum) = (vec![0; CHUNK], crc32fast::Hasher::new());
    if file.metadata()?.len() < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut offset = 0;
    while let Some(next) = next_data(file, offset)?.filter(|next| *next < size) {
        // Chunks begin where they begin in the memory.
        let chunk_size = CHUNK as u64;
        offset = next / chunk_size * chunk_size;
        let length = index(size - offset).min(CHUNK);
        let chunk = buffer.get_mut(..length).unwrap_or_default();
        file.read_exact_at(chunk, offset)?;
        data(chunk, offset).for_each(|(position, bytes)| add(&mut sum, position, bytes));
        offset += chunk_size;
    }
    Ok(sum.finalize())
}

/// The position of the first byte from `offset` on that is not in a hole. None if only a hole
/// follows, up to the end of the file.
fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let start = i64::try_from(offset).map_err(io::Error::other)?;
    match lseek(file, start, Whence::SeekData) {
        Ok(next) => Ok(Some(u64::try_from(next).map_err(io::Error::other)?)),
        Err(Errno::ENXIO) => Ok(None),
        // The file system does not know its holes.
        Err(Errno::EINVAL) => Ok(Some(offset)),
        Err(error) => Err(error.into()),
    }
}

fn add(sum: &mut crc32fast::Hasher, position: u64, bytes: &[u8]) {
    sum.update(&position.to_le_bytes());
    sum.update(bytes);
}

/// The runs of pages in a chunk that are not zero, with their positions.
fn data(chunk: &[u8], offset: u64) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = chunk;
    let mut position = offset;
    iter::from_fn(move || {
        let zeroes = run(rest, true);
        rest = rest.get(zeroes..).unwrap_or_default();
        position += zeroes as u64;
        let (bytes, after) = rest.split_at_checked(run(rest, false)).unwrap_or((rest, &[]));
        let at = position;
        position += bytes.len() as u64;
        rest = after;
        (!bytes.is_empty()).then_some((at, bytes))
    })
}

/// The number of bytes in the first pages that are all zero, or that all are not.
fn run(bytes: &[u8], zero: bool) -> usize {
    bytes.chunks(PAGE).take_while(|page| is_zero(page) == zero).map(<[u8]>::len).sum()
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::MetadataExt;

    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::memory::placement;

    const SIZE: u64 = 33 << 20;

    /// A number that differs for each place.
    fn number(place: u64) -> u64 {
        place.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
    }

    #[test]
    fn memory_comes_back_from_its_file() {
        let places = [0, 4096, 0x10_0ff8, 0x10_1000, (1 << 20) + 8, (2 << 20) - 8, SIZE - 8];
        let ram = Ram::new(SIZE).unwrap();
        for place in places {
            ram.memory().write_obj(number(place), GuestAddress(place)).unwrap();
        }
        let file = tempfile::tempfile().unwrap();
        // What the file had before must not remain.
        file.write_all_at(&[0xff; 9000], 8 << 20).unwrap();
        ram.save(&file, &|| true).unwrap();
        let found = file.metadata().unwrap();
        assert_eq!(found.len(), SIZE);
        assert!(found.blocks() * 512 <= 16 * 4096, "{} blocks: it is not sparse", found.blocks());

        let restored = Ram::restored(SIZE, &file).unwrap();
        for place in (0..SIZE).step_by(8) {
            let expected = if places.contains(&place) { number(place) } else { 0 };
            let found: u64 = restored.memory().read_obj(GuestAddress(place)).unwrap();
            assert_eq!(found, expected, "{place:#x}");
        }
        // The restored guest changes its copy, and a snapshot of it has the change.
        restored.memory().write_obj(7_u64, GuestAddress(0x5000)).unwrap();
        let again = tempfile::tempfile().unwrap();
        restored.save(&again, &|| true).unwrap();
        let mut bytes = [0; 8];
        again.read_exact_at(&mut bytes, 0x5000).unwrap();
        assert_eq!(u64::from_ne_bytes(bytes), 7);
        file.read_exact_at(&mut bytes, 0x5000).unwrap();
        assert_eq!(u64::from_ne_bytes(bytes), 0);
        again.read_exact_at(&mut bytes, SIZE - 8).unwrap();
        assert_eq!(u64::from_ne_bytes(bytes), number(SIZE - 8));

        restored.empty().unwrap();
        for place in places.into_iter().chain([0x5000]) {
            let found: u64 = restored.memory().read_obj(GuestAddress(place)).unwrap();
            assert_eq!(found, 0, "{place:#x}");
        }
        // Emptied memory is as that of a guest that was never restored.
        restored.memory().write_obj(7_u64, GuestAddress(0x5000)).unwrap();
        restored.empty().unwrap();
        assert_eq!(restored.memory().read_obj::<u64>(GuestAddress(0x5000)).unwrap(), 0);
    }

    #[test]
    fn saving_does_not_touch_untouched_memory() {
        let ram = Ram::new(SIZE).unwrap();
        ram.memory().write_obj(number(1), GuestAddress(5 << 20)).unwrap();
        let untouched = |megabyte: u64| {
            let region = ram.memory().iter().next().unwrap();
            let address = region.get_host_address(MemoryRegionAddress(megabyte << 20)).unwrap();
            Pagemap::open().unwrap().is_untouched(address.addr(), CHUNK)
        };
        let before: Vec<_> = (0..SIZE >> 20).map(untouched).collect();
        assert!(!before[5] && before[20]);
        ram.save(&tempfile::tempfile().unwrap(), &|| true).unwrap();
        assert_eq!((0..SIZE >> 20).map(untouched).collect::<Vec<_>>(), before);
    }

    #[test]
    fn memory_above_the_hole_follows_in_the_file() {
        // 1 MiB above 4 GiB. The pages of the rest are never touched.
        let size = (3 << 30) + (1 << 20);
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        let high = placement(size).pop().unwrap();
        file.write_all_at(&number(1).to_ne_bytes(), high.1 + 0x1000).unwrap();
        let ram = Ram::restored(size, &file).unwrap();
        let found: u64 = ram.memory().read_obj(GuestAddress((4 << 30) + 0x1000)).unwrap();
        assert_eq!(found, number(1));
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let file = tempfile::tempfile().unwrap();
        for length in [0, SIZE - 4096, SIZE + 1] {
            file.set_len(length).unwrap();
            let refusal = Ram::restored(SIZE, &file).unwrap_err().to_string();
            assert!(refusal.contains(&format!("has {length} bytes")), "{refusal}");
        }
        let directory = tempfile::tempdir().unwrap();
        let directory = File::open(directory.path()).unwrap();
        assert!(Ram::restored(SIZE, &directory).is_err());
    }

    #[test]
    fn a_shorter_file_has_no_checksum() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE - 4096).unwrap();
        assert!(checksum(&file, SIZE).is_err());
        assert!(checksum(&file, SIZE - 4096).is_ok());
    }

    #[test]
    fn each_page_counts_in_the_checksum() {
        let ram = Ram::new(SIZE).unwrap();
        let file = tempfile::tempfile().unwrap();
        ram.memory().write_obj(7_u64, GuestAddress(0x5000)).unwrap();
        ram.memory().write_obj(9_u64, GuestAddress(SIZE - 8)).unwrap();
        let sum = ram.save(&file, &|| true).unwrap();
        assert_eq!(checksum(&file, SIZE).unwrap(), sum);
        for (position, byte) in [(0x5000, 6), (0x6000, 1), (SIZE - 8, 8), (2 << 20, 1)] {
            let mut before = [0];
            file.read_exact_at(&mut before, position).unwrap();
            file.write_all_at(&[byte], position).unwrap();
            assert_ne!(checksum(&file, SIZE).unwrap(), sum, "{position:#x}");
            file.write_all_at(&before, position).unwrap();
        }
        assert_eq!(checksum(&file, SIZE).unwrap(), sum);
        assert!(checksum(&file, SIZE + 1).is_err());
    }

    #[test]
    fn saving_ends_when_it_is_not_to_go_on() {
        let (ram, file) = (Ram::new(SIZE).unwrap(), tempfile::tempfile().unwrap());
        let chunks = Cell::new(0);
        let goes_on = || chunks.replace(chunks.get() + 1) < 3;
        let error = ram.save(&file, &goes_on).unwrap_err();
        assert_eq!((error.kind(), chunks.get()), (io::ErrorKind::Interrupted, 4));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        let closed = File::open("/proc/self/exe").unwrap();
        assert!(Ram::new(SIZE).unwrap().save(&closed, &|| true).is_err());
    }
}
