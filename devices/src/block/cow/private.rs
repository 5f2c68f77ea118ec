//! The private file of a copy-on-write disk. A file that is kept for the next launch has this
//! form, numbers in little-endian order:
//!
//! | bytes | |
//! |---|---|
//! | 0 to 4095 | the header: [`MAGIC`], the version (u32), bytes of a sector (u32), and the stamp of the file that the disk begins as |
//! | from 4096 on | the map: a bit for each sector, the lowest of a byte first; rounded up to 4096 bytes |
//! | behind the map | the sectors whose bits are 1, in the order of the disk, sparse |
//!
//! The stamp is the length (u64), seconds (i64) and nanoseconds (u32) of the last
//! modification, 1 for a block device (u32), inode (u64) and device number (u64).
//!
//! A file that is not kept has no name, no header and no map: sectors lie where they lie on
//! the disk.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};

use serde::{Deserialize, Serialize};

use super::copy::{copy_data, next_data};
use super::map::{PAGE, PAGE_SECTORS, PageCopy, SectorMap};
use crate::block::SECTOR;
use crate::block::file::HostFile;
use crate::number::index;

/// The first bytes of a file that is kept.
pub const MAGIC: [u8; 8] = *b"LGUESTCW";

/// The version of the form.
const VERSION: u32 = 1;

/// Bytes of the header.
const HEADER: u64 = 4096;

/// The most bytes of a disk: 16 TiB. The map of a larger one would be large even if it is
/// empty.
const LONGEST: u64 = 16 << 40;

/// What tells one state of a disk's file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileStamp {
    /// Bytes.
    pub length: u64,
    /// The last modification, in seconds since 1970; 0 for a block device.
    pub seconds: i64,
    /// The nanoseconds of the last modification.
    pub nanoseconds: u32,
    /// Whether it is a block device.
    pub is_block_device: bool,
    /// The inode; 0 for a block device.
    pub inode: u64,
    /// The number of the block device, or of the device that the file is on.
    pub device: u64,
}

/// Why a private file cannot be used. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// The file has other contents.
    #[error("it is not the private part of a disk: name a file that does not exist yet")]
    Foreign,
    /// The file was made by another version of lguest.
    #[error(
        "it has version {0}, and this lguest takes version {VERSION}: use the lguest that made \
         it, or name a file that does not exist yet"
    )]
    Version(u32),
    /// The file has sectors of another size.
    #[error("it has sectors of {0} bytes, and this lguest takes {SECTOR}: name another file")]
    SectorSize(u32),
    /// The disk's file is not what it was when the private file was made.
    #[error(
        "it belongs to a disk with another {0}: bring back the file that the disk had, or name \
         a private file that does not exist yet"
    )]
    OtherDisk(&'static str),
    /// The file is shorter or longer than its header says, or its map is wrong.
    #[error("it is damaged ({0}): take a copy of it, or name a file that does not exist yet")]
    Damaged(&'static str),
    /// The file should be new, and has contents.
    #[error("it has contents, and the guest's state would replace them: name a new file")]
    NotEmpty,
    /// The disk is too large.
    #[error("the disk has more than 16 TiB: use it without \"cow\"")]
    TooLarge,
    /// The host cannot read or write the file.
    #[error(transparent)]
    Host(#[from] io::Error),
}

/// The private part of a copy-on-write disk.
#[derive(Debug)]
pub struct PrivateFile {
    pub(super) file: HostFile,
    pub(super) map: SectorMap,
    /// The stamp of the file that the disk begins as.
    stamp: FileStamp,
    /// The byte of the file with the first sector: 0 if the file is not kept.
    data: u64,
}

impl FileStamp {
    /// The stamp of a file or block device of `length` bytes.
    #[must_use]
    pub fn new(metadata: &Metadata, length: u64) -> Self {
        if metadata.file_type().is_block_device() {
            let (seconds, nanoseconds, inode, device) = (0, 0, 0, metadata.rdev());
            return Self { length, seconds, nanoseconds, is_block_device: true, inode, device };
        }
        Self {
            length,
            seconds: metadata.mtime(),
            // From 0 to 999,999,999.
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
            is_block_device: false,
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// Returns what is different between two stamps, unless they are those of the same file in
    /// the same state. The device number of a file may be another after each start of the
    /// host.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let is_device = self.is_block_device;
        let rows = [
            (self.length != other.length, "length"),
            (is_device != other.is_block_device, "kind of file"),
            (is_device && self.device != other.device, "device number"),
            (self.inode != other.inode, "inode: the file was replaced"),
            (self.seconds != other.seconds, "time of modification: the file was changed"),
            (self.nanoseconds != other.nanoseconds, "time of modification: the file was changed"),
        ];
        rows.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what)
    }

    /// Returns what is different between two stamps, if their files cannot have the same
    /// contents: one may be a copy of the other. The host records no modifications of block
    /// devices.
    #[must_use]
    pub fn contents_difference(&self, other: &Self) -> Option<&'static str> {
        self.difference(&Self { inode: self.inode, device: self.device, ..*other })
    }

    /// The number of sectors of the disk.
    fn sectors(&self) -> u64 {
        self.length / SECTOR
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(index(HEADER));
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(512_u32.to_le_bytes());
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(self.seconds.to_le_bytes());
        bytes.extend(self.nanoseconds.to_le_bytes());
        bytes.extend(u32::from(self.is_block_device).to_le_bytes());
        bytes.extend(self.inode.to_le_bytes());
        bytes.extend(self.device.to_le_bytes());
        bytes.resize(index(HEADER), 0);
        bytes
    }

    /// Parses the header of a private file.
    fn parse(header: &[u8]) -> Result<Self, PrivateError> {
        let mut fields = Fields(header);
        if fields.take() != MAGIC {
            return Err(PrivateError::Foreign);
        }
        let (version, sector) = (fields.u32(), fields.u32());
        if version != VERSION {
            return Err(PrivateError::Version(version));
        }
        if u64::from(sector) != SECTOR {
            return Err(PrivateError::SectorSize(sector));
        }
        Ok(Self {
            length: fields.u64(),
            seconds: i64::from_le_bytes(fields.take()),
            nanoseconds: fields.u32(),
            is_block_device: fields.u32() != 0,
            inode: fields.u64(),
            device: fields.u64(),
        })
    }
}

/// The rest of a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// Takes the next bytes: zeroes if the header is over.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

impl PrivateFile {
    /// A private part that ends with the disk. `file` is empty, and has no name. The disk
    /// begins as the file with this stamp.
    ///
    /// # Errors
    /// When the disk is too large, for lguest or for the file system of `file`.
    pub fn temporary(file: File, disk: FileStamp) -> Result<Self, PrivateError> {
        let private = Self::empty(file, disk, 0)?;
        private.file.file().set_len(disk.length)?;
        Ok(private)
    }

    /// A private part that a later launch can continue with: the one that is in `file`, or a
    /// new one if `file` is empty. The disk begins as the file with this stamp.
    ///
    /// # Errors
    /// When `file` is something else, or belongs to another disk, or is damaged; when the
    /// disk is too large.
    pub fn kept(file: File, disk: FileStamp) -> Result<Self, PrivateError> {
        if file.metadata()?.len() == 0 {
            let new = Self::empty(file, disk, data_offset(&disk))?;
            if let Err(error) = new.format() {
                // The next launch finds an empty file again.
                let _ = new.file.file().set_len(0);
                return Err(error.into());
            }
            return Ok(new);
        }
        check(&file, &disk, FileStamp::difference)?;
        let private = Self::empty(file, disk, data_offset(&disk))?;
        private.load_map(private.file.file())?;
        Ok(private)
    }

    /// Copies a saved private part into this one, which must be new. `saved` was made with
    /// [`crate::block::Image::save_private`] or [`Self::kept`], and does not change.
    ///
    /// # Errors
    /// Those of [`Self::kept`] for `saved`, and [`PrivateError::NotEmpty`].
    pub fn copied(self, saved: &File) -> Result<Self, PrivateError> {
        if self.has_sectors() {
            return Err(PrivateError::NotEmpty);
        }
        // The disk may be a copy of the one that was saved.
        check(saved, &self.stamp, FileStamp::contents_difference)?;
        self.load_map(saved)?;
        let start = data_offset(&self.stamp);
        let saved_data = start..start + self.length();
        copy_data(saved, &saved_data, self.file.file(), self.data)?;
        if self.is_kept() {
            // As in a flush: the data are stable before the map says that they are there.
            self.file.file().sync_data()?;
            self.map.copies().try_for_each(|page| self.write_map(&[page]))?;
            self.file.file().sync_data()?;
        }
        Ok(self)
    }

    fn empty(file: File, stamp: FileStamp, data: u64) -> Result<Self, PrivateError> {
        if stamp.length > LONGEST {
            return Err(PrivateError::TooLarge);
        }
        Ok(Self { file: HostFile::new(file)?, map: SectorMap::new(stamp.sectors()), stamp, data })
    }

    /// Bytes of the disk: whole sectors.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.stamp.sectors() * SECTOR
    }

    /// Whether it has a sector.
    pub(super) fn has_sectors(&self) -> bool {
        self.map.copies().next().is_some()
    }

    /// Whether a later launch can continue with the file.
    pub(super) fn is_kept(&self) -> bool {
        self.data != 0
    }

    /// The byte of the file that is byte `at` of the disk.
    pub(super) fn place(&self, at: u64) -> u64 {
        self.data + at
    }

    /// The range of the file that is this range of the disk.
    pub(super) fn places(&self, range: &Range<u64>) -> Range<u64> {
        self.place(range.start)..self.place(range.end)
    }

    /// The stamp of the file that the disk begins as, when the disk was opened.
    pub(super) fn stamp(&self) -> FileStamp {
        self.stamp
    }

    /// Prepares the map for bits of this range of the disk: it has room on the host, so that
    /// a full file system is an error of the write, and not of the flush after it.
    pub(super) fn reserve(&self, range: &Range<u64>) -> io::Result<()> {
        if !self.is_kept() {
            return Ok(());
        }
        let sectors = range.start / SECTOR..range.end.div_ceil(SECTOR);
        self.map.reserve(&sectors, |page| self.file.allocate(&map_page(page)))
    }

    /// Writes copies of the map's pages to the file. Returns if a signal interrupts it.
    pub(super) fn write_map(&self, pages: &[PageCopy]) -> io::Result<()> {
        pages.iter().try_for_each(|(number, bytes)| write_page(self.file.file(), *number, bytes))
    }

    /// Gives an empty file its header and its length.
    fn format(&self) -> io::Result<()> {
        let file = self.file.file();
        file.write_all_at(&self.stamp.header(), 0)?;
        file.set_len(self.place(self.length()))?;
        file.sync_data()
    }

    /// Writes this private part to an empty file, in the form of one that is kept.
    pub(super) fn save(&self, to: &File) -> io::Result<()> {
        let data = data_offset(&self.stamp);
        to.write_all_at(&self.stamp.header(), 0)?;
        to.set_len(data + self.length())?;
        self.map.copies().try_for_each(|(number, bytes)| write_page(to, number, &bytes))?;
        copy_data(self.file.file(), &self.places(&(0..self.length())), to, data)
    }

    /// Loads the map of a file in the form of one that is kept.
    fn load_map(&self, file: &File) -> Result<(), PrivateError> {
        let map = HEADER..data_offset(&self.stamp);
        let mut start = map.start;
        while let Some(data) = next_data(file, &(start..map.end))? {
            let pages = (data.start - HEADER) / PAGE..(data.end - HEADER).div_ceil(PAGE);
            pages.clone().try_for_each(|page| self.load_page(file, page))?;
            start = map_page(pages.end).start;
        }
        Ok(())
    }

    fn load_page(&self, file: &File, page: u64) -> Result<(), PrivateError> {
        let mut bytes = vec![0; index(PAGE)];
        file.read_exact_at(&mut bytes, map_page(page).start)?;
        match self.map.load(page, &bytes) {
            true => Ok(()),
            false => Err(PrivateError::Damaged("its map is longer than the disk")),
        }
    }
}

/// The bytes of a page of the map in a file that is kept.
fn map_page(page: u64) -> Range<u64> {
    let start = HEADER + page * PAGE;
    start..start + PAGE
}

/// The byte of a file that is kept at which the first sector is.
fn data_offset(disk: &FileStamp) -> u64 {
    map_page(disk.sectors().div_ceil(PAGE_SECTORS)).start
}

/// Checks that a file that is kept belongs to the disk whose file has this stamp, as far as
/// `difference` finds none.
fn check(
    file: &File,
    disk: &FileStamp,
    difference: impl Fn(&FileStamp, &FileStamp) -> Option<&'static str>,
) -> Result<(), PrivateError> {
    let length = file.metadata()?.len();
    if length < HEADER {
        return Err(PrivateError::Foreign);
    }
    let mut header = vec![0; index(HEADER)];
    file.read_exact_at(&mut header, 0)?;
    if let Some(what) = difference(&FileStamp::parse(&header)?, disk) {
        return Err(PrivateError::OtherDisk(what));
    }
    if disk.length > LONGEST {
        return Err(PrivateError::TooLarge);
    }
    let wanted = data_offset(disk) + disk.sectors() * SECTOR;
    match length == wanted {
        true => Ok(()),
        false => Err(PrivateError::Damaged("its length is wrong")),
    }
}

/// Writes a page of the map to a file. Returns if a signal interrupts it.
fn write_page(file: &File, number: usize, bytes: &[u8]) -> io::Result<()> {
    let (mut at, mut left) = (map_page(number as u64).start, bytes);
    while !left.is_empty() {
        let count = file.write_at(left, at)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        left = left.get(count..).unwrap_or_default();
        at += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
