//! The sources of ELF files: a file that is not packed, and a stream that is unpacked on the way.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use anyhow::{Context, Result};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, ReadVolatile};

use crate::boot::progress::{BeginReport, ProgressReport};
use crate::memory::Memory;

/// The size in bytes of the buffer for unpacked bytes, which stays in the processor's cache.
const CHUNK: usize = 128 << 10;

/// The size in bytes of the pieces in which files are read, with a progress report after each.
const PIECE: u64 = 1 << 20;

/// An ELF file, read from its beginning to its end.
pub(in crate::boot) trait ElfSource {
    /// Fill `buffer` from `offset` on.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Put the bytes from `offset` on into guest memory.
    fn place(&mut self, offset: u64, to: Range<u64>, memory: &Memory) -> Result<()>;
}

/// A file that is not packed.
pub(in crate::boot) struct ElfFile {
    pub(in crate::boot) file: File,
    /// Begins a report on the progress of reading the file.
    pub(in crate::boot) watch: BeginReport,
}

impl ElfSource for ElfFile {
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(buffer)
    }

    fn place(&mut self, offset: u64, to: Range<u64>, memory: &Memory) -> Result<()> {
        self.file.seek(SeekFrom::Start(offset)).context("reading the file")?;
        let progress = (self.watch)("kernel", to.end.saturating_sub(to.start));
        read_into(&mut self.file, to, memory, progress)
    }
}

/// Read from a file straight into guest memory, and report the progress.
pub(in crate::boot) fn read_into(
    file: &mut impl ReadVolatile,
    to: Range<u64>,
    memory: &Memory,
    mut progress: ProgressReport,
) -> Result<()> {
    let mut address = to.start;
    while address < to.end {
        let length = (to.end - address).min(PIECE);
        let piece = GuestAddress(address);
        let done = memory.read_exact_volatile_from(piece, file, usize::try_from(length)?);
        done.map_err(|error| match error {
            vm_memory::GuestMemoryError::IOError(error) => anyhow::Error::new(error),
            other => other.into(),
        })?;
        address += length;
        progress(length);
    }
    Ok(())
}

/// An ELF file that is a stream, and cannot seek back.
pub(in crate::boot) struct ElfStream<R> {
    bytes: R,
    position: u64,
    /// The largest offset that is read: the size of the guest's memory, and a little for headers
    /// and alignment.
    limit: u64,
}

impl<R: Read> ElfStream<R> {
    pub(in crate::boot) fn new(bytes: R, memory: &Memory) -> Self {
        let ram: u64 = memory.iter().map(GuestMemoryRegion::len).sum();
        Self { bytes, position: 0, limit: ram.saturating_add(64 << 20) }
    }

    /// The number of bytes that were read.
    pub(in crate::boot) fn position(&self) -> u64 {
        self.position
    }

    /// Read to the end of the stream, so that the checksum there is compared. At most 64 MiB are
    /// read: a gigabyte of debugging information behind the kernel would take too long.
    pub(in crate::boot) fn finish(&mut self) -> io::Result<()> {
        io::copy(&mut (&mut self.bytes).take(64 << 20), &mut io::sink()).map(drop)
    }

    fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        let distance = offset.checked_sub(self.position).filter(|_| offset <= self.limit);
        let distance = distance.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the ELF file is not in order: damaged")
        })?;
        let skipped = io::copy(&mut (&mut self.bytes).take(distance), &mut io::sink())?;
        self.position += skipped;
        if skipped == distance { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl<R: Read> ElfSource for ElfStream<R> {
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.skip_to(offset)?;
        self.bytes.read_exact(buffer)?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn place(&mut self, offset: u64, to: Range<u64>, memory: &Memory) -> Result<()> {
        self.skip_to(offset)?;
        let mut buffer = vec![0; CHUNK];
        let mut address = to.start;
        while address < to.end {
            let length = usize::try_from(to.end - address)?.min(CHUNK);
            let chunk = buffer.get_mut(..length).unwrap_or_default();
            self.bytes.read_exact(chunk)?;
            memory.write_slice(chunk, GuestAddress(address))?;
            address += length as u64;
        }
        self.position += to.end - to.start;
        Ok(())
    }
}
