//! The disks: opens the files and block devices that the user named, locks them against
//! other writers, and makes a [`Block`] of each for every guest. They are opened once for
//! all guests of a launch.

mod format;
mod holder;
mod identity;
mod private;

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use devices::block::{Block, FileStamp, Image};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

pub use identity::{DiskAccess, DiskIdentity};

use crate::sys;

/// The largest default number of queues: more of them gain nothing.
const QUEUES: u16 = 8;

/// The size in bytes of the largest block that Linux accepts: a page.
const LARGEST_BLOCK: u32 = 4096;

/// A disk, as the user described it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockConfig {
    /// The image or block device.
    pub path: PathBuf,
    /// The guest can only read the disk.
    pub read_only: bool,
    /// Reads and writes bypass the host's page cache (O_DIRECT).
    pub direct: bool,
    /// The serial number that the guest sees, up to 20 bytes of ASCII.
    pub serial: String,
    /// The number of virtqueues. `None` is one for each CPU of the guest, up to 8.
    pub queues: Option<u16>,
    /// Flushes are answered without being done (`sync=off`).
    pub no_sync: bool,
    /// The file's bytes are the disk, even if they look like another format (`format=raw`).
    pub raw: bool,
    /// The guest writes to a private part, and the file does not change (`cow`).
    pub cow: Option<PrivatePart>,
    /// The file with the saved private part that a copy-on-write disk begins with. It does not
    /// change.
    pub private_from: Option<PathBuf>,
}

/// Where the private part of a copy-on-write disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrivatePart {
    /// In a file without a name, which ends with the launch.
    Temporary,
    /// In this file, with which a later launch can continue.
    Kept(PathBuf),
}

impl BlockConfig {
    /// Whether lguest only reads the file.
    fn only_reads(&self) -> bool {
        self.read_only || self.cow.is_some()
    }
}

/// A disk of the guest.
#[derive(Debug)]
pub struct Disk {
    image: Arc<Image>,
    path: PathBuf,
    serial: String,
    queues: u16,
}

impl Disk {
    /// The device for a new guest.
    pub fn device(&self) -> Block {
        let (image, serial) = (Arc::clone(&self.image), self.serial.clone());
        Block { image, serial, queues: self.queues }
    }

    /// Whether a guest has written to the private part of a copy-on-write disk.
    pub fn has_private_sectors(&self) -> bool {
        self.image.has_private_sectors()
    }

    /// Make the guest's finished writes stable.
    ///
    /// # Errors
    /// Those of the host.
    pub fn flush(&self) -> io::Result<()> {
        self.image.flush()
    }

    /// Copies the private part of a copy-on-write disk to `to`, an empty file, for
    /// [`BlockConfig::private_from`]. The guest must be paused. `to` is not flushed.
    ///
    /// # Errors
    /// Those of the host, and if the disk is not copy-on-write.
    pub fn save_private(&self, to: &File) -> io::Result<()> {
        self.image.save_private(to)
    }
}

/// Open the disks of a guest with `cpus` CPUs.
///
/// # Errors
/// When a disk cannot be used. The text names the disk, the cause and advice.
pub fn open_all(configs: &[BlockConfig], cpus: u8) -> Result<Vec<Disk>> {
    let (mut disks, mut known) = (Vec::new(), KnownFiles::default());
    for config in configs {
        let name = format!("disk {}", config.path.display());
        let image = open(config, &name, &mut known).with_context(|| name.clone())?;
        // Absolute now: a chroot may follow.
        let (image, path) = (Arc::new(image), path::absolute(&config.path)?);
        let queues = config.queues.unwrap_or(QUEUES.min(cpus.into()));
        disks.push(Disk { image, path, serial: config.serial.clone(), queues });
    }
    Ok(disks)
}

/// The files that the guest's disks use so far, and whether each is only read.
#[derive(Debug, Default)]
struct KnownFiles(Vec<(FileIdentity, bool)>);

impl KnownFiles {
    /// Adds a file. Returns false if the guest uses it already, unless all its uses only read.
    fn add(&mut self, metadata: &Metadata, only_reads: bool) -> bool {
        let new = identity(metadata);
        let collides = self.0.iter().any(|(known, reads)| *known == new && !(only_reads && *reads));
        self.0.push((new, only_reads));
        !collides
    }
}

/// The identity of a file or block device, which all of its names share: whether it is a block
/// device, the device number, and the inode of a file.
type FileIdentity = (bool, u64, u64);

fn identity(metadata: &Metadata) -> FileIdentity {
    match metadata.file_type().is_block_device() {
        true => (true, metadata.rdev(), 0),
        false => (false, metadata.dev(), metadata.ino()),
    }
}

fn open(config: &BlockConfig, name: &str, known: &mut KnownFiles) -> Result<Image> {
    // Checked before opening, which could wait for the other end of a FIFO.
    let metadata = fs::metadata(&config.path).map_err(|error| explain(error, config))?;
    let kind = metadata.file_type();
    ensure!(!kind.is_dir(), "it is a directory: give a file or a block device");
    ensure!(
        kind.is_file() || kind.is_block_device(),
        "it is neither a file nor a block device: give one of these"
    );
    ensure!(
        known.add(&metadata, config.only_reads()),
        "it is given twice: each disk can be given once, unless all have \"ro\" or \"cow\""
    );

    let mut file = open_file(config, &metadata)?;
    let kind = if config.only_reads() { LockKind::Shared } else { LockKind::Exclusive };
    lock(&file, kind, name)?;
    let length = file.seek(SeekFrom::End(0)).context("finding its size")?;
    ensure!(length > 0, "it is empty: make it as large as the disk (truncate -s 4G FILE)");
    format::check(config, name, length)?;

    let image = image(config, file, name, length, known)?;
    ensure!(image.length() > 0, "it is smaller than a block of {} bytes", image.block_size());
    let rest = length - image.length();
    if rest > 0 {
        let block = image.block_size();
        log::warn!(
            "{name}: its last {rest} bytes are no block of {block}: the guest has no use of them"
        );
    }
    Ok(image)
}

/// Make the image of a disk whose file is open and has this length.
fn image(
    config: &BlockConfig,
    file: File,
    name: &str,
    length: u64,
    known: &mut KnownFiles,
) -> Result<Image> {
    let metadata = file.metadata()?;
    let alignment = if config.direct { Some(direct_alignment(&file, &metadata)?) } else { None };
    let mut image = match &config.cow {
        None => Image::new(file, name, length)?,
        Some(part) => {
            let stamp = FileStamp::new(&metadata, length);
            let private = private::open(config, part, stamp, name, known)?;
            Image::copy_on_write(file, private, name)?
        }
    };
    if let Some(alignment) = alignment {
        image = image.direct(alignment);
    }
    if config.read_only {
        image = image.read_only();
    }
    if config.no_sync {
        image = image.without_sync();
    }
    Ok(image)
}

fn open_file(config: &BlockConfig, metadata: &Metadata) -> Result<File> {
    let mut flags = 0;
    if config.direct {
        flags |= libc::O_DIRECT;
    }
    if metadata.file_type().is_block_device() && !config.only_reads() {
        // O_EXCL is refused if the device is mounted, and keeps it from being mounted.
        flags |= libc::O_EXCL;
    }
    let mut options = File::options();
    options.read(true).write(!config.only_reads()).custom_flags(flags);
    options.open(&config.path).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) if config.direct => {
            anyhow!("its file system has no direct I/O: leave out \"direct\"")
        }
        Some(libc::EBUSY) => match holder::of(metadata) {
            Some(holder) => anyhow!("it is in use by {holder}: end that first"),
            None => anyhow!("it is in use, perhaps mounted: unmount it, or add \",ro\""),
        },
        _ => explain(error, config),
    })
}

fn explain(error: io::Error, config: &BlockConfig) -> anyhow::Error {
    match error.kind() {
        ErrorKind::NotFound => anyhow!("no such file: make one (truncate -s 4G FILE)"),
        ErrorKind::PermissionDenied if config.only_reads() => {
            anyhow!("permission denied: make it readable")
        }
        ErrorKind::PermissionDenied => {
            anyhow!("permission denied: make it writable, or add \",ro\"")
        }
        ErrorKind::ReadOnlyFilesystem => anyhow!("its file system is read-only: add \",ro\""),
        _ => error.into(),
    }
}

/// The kind of a lock: which other processes may use the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockKind {
    /// Processes that only read it.
    Shared,
    /// No other process.
    Exclusive,
}

/// Lock a file of a disk, so that no other process writes to it while the guest uses it. The
/// lock ends with the open file: when the process ends, at the latest, in whatever
/// way.
fn lock(file: &File, kind: LockKind, name: &str) -> Result<()> {
    let kind = match kind {
        LockKind::Shared => libc::F_RDLCK,
        LockKind::Exclusive => libc::F_WRLCK,
    };
    let lock = libc::flock {
        l_type: i16::try_from(kind)?,
        l_whence: i16::try_from(libc::SEEK_SET)?,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(()),
        Err(Errno::EAGAIN | Errno::EACCES) => {
            let holder = holder::of(&file.metadata()?);
            let holder =
                holder.unwrap_or_else(|| "a process that is not to be seen from here".into());
            bail!("it is in use by {holder}: end that first, or copy the file")
        }
        // Some network file systems have no locks.
        Err(error) => {
            log::warn!("{name}: cannot be locked ({error}): see to it that nobody else uses it");
            Ok(())
        }
    }
}

/// The alignment in bytes that direct I/O on the file needs.
fn direct_alignment(file: &File, metadata: &Metadata) -> Result<u32> {
    let told = sys::direct_alignment(file).context("asking for its alignment")?;
    let alignment = match told {
        Some(alignment) => alignment,
        // Kernels before 6.1 and some file systems do not report it.
        None if metadata.file_type().is_block_device() => {
            sys::logical_block_size(file).context("asking for its block size")?
        }
        None => LARGEST_BLOCK,
    };
    ensure!(alignment > 0, "its file system has no direct I/O: leave out \"direct\"");
    ensure!(
        alignment <= LARGEST_BLOCK,
        "it has direct I/O in blocks of {alignment} bytes only, and guests take {LARGEST_BLOCK} \
         at most: leave out \"direct\""
    );
    Ok(alignment)
}

/// Open the source of random numbers (`--rng`).
///
/// # Errors
/// When it cannot be opened, or is neither a file nor a character device.
pub fn open_random(path: &Path) -> Result<File> {
    let open = || {
        let kind = fs::metadata(path)?.file_type();
        if kind.is_file() || kind.is_char_device() {
            return File::open(path);
        }
        Err(io::Error::other("it is neither a file nor a character device"))
    };
    open().with_context(|| format!("random numbers from {}", path.display()))
}

#[cfg(test)]
mod tests;
