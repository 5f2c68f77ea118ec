//! Writes an initial file system: a cpio archive of the form "newc"
//! (Documentation/driver-api/early-userspace/buffer-format.rst), appended to those of the user.

use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use devices::number::clamped_u32;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::SFlag;

use super::tree::{self, TreeEntry};

/// File types and permissions: directories and files that every user may read; programs.
const DIRECTORY: u32 = SFlag::S_IFDIR.bits() | 0o755;
const PLAIN: u32 = SFlag::S_IFREG.bits() | 0o644;
const PROGRAM: u32 = SFlag::S_IFREG.bits() | 0o755;
const LINK: u32 = SFlag::S_IFLNK.bits() | 0o777;
const DEVICE: u32 = SFlag::S_IFCHR.bits() | 0o600;

/// The name of the last entry.
const TRAILER: &str = "TRAILER!!!";

/// The longest name that Linux accepts (PATH_MAX), in bytes.
const LONGEST_NAME: usize = 4095;

/// An archive that is being written.
pub(crate) struct Archive<W: Write> {
    to: W,
    /// The number of entries so far, which is the next one's inode: two entries with the same inode
    /// are one file.
    entries: u32,
    written: u64,
}

impl Archive<BufWriter<File>> {
    /// A new archive in memory, without a name.
    ///
    /// # Errors
    /// When the host has no descriptor left.
    pub(crate) fn in_memory() -> Result<Self> {
        let file = memfd_create(c"initramfs", MFdFlags::MFD_CLOEXEC);
        let file = file.context("memory for an initial file system")?;
        Ok(Self::new(BufWriter::new(File::from(file))))
    }

    /// Complete the archive.
    ///
    /// # Errors
    /// When the host has no memory for it.
    pub(crate) fn finish(mut self) -> Result<File> {
        self.end()?;
        Ok(self.to.into_inner().map_err(io::IntoInnerError::into_error)?)
    }
}

impl<W: Write> Archive<W> {
    fn new(to: W) -> Self {
        Self { to, entries: 0, written: 0 }
    }

    /// Add a directory. A directory that exists already is kept.
    pub(crate) fn directory(&mut self, path: &str) -> Result<()> {
        self.entry(
            path.as_bytes(),
            CpioEntry { mode: DIRECTORY, ..CpioEntry::default() },
            &mut io::empty(),
        )
    }

    /// Add a file with these bytes.
    pub(crate) fn file(&mut self, path: &str, mut bytes: &[u8]) -> Result<()> {
        self.bytes(path, PLAIN, &mut bytes)
    }

    /// Add a file that can be executed.
    pub(crate) fn program(&mut self, path: &str, mut bytes: &[u8]) -> Result<()> {
        self.bytes(path, PROGRAM, &mut bytes)
    }

    /// Add a symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.bytes(path, LINK, &mut target.as_bytes())
    }

    /// Add a character device.
    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        let entry = CpioEntry { mode: DEVICE, device: (major, minor), ..CpioEntry::default() };
        self.entry(path.as_bytes(), entry, &mut io::empty())
    }

    /// Add a file or directory of the host, with its contents. In the guest it belongs to root.
    ///
    /// # Errors
    /// The file that cannot be read, or cannot be put into an archive.
    pub(crate) fn copy(&mut self, host: &Path, path: &[u8]) -> Result<()> {
        // A link is followed if the user named it; links below it are copied as links.
        let metadata = fs::metadata(host).with_context(|| host.display().to_string())?;
        let what = if metadata.is_dir() || metadata.is_file() {
            tree::open(host).with_context(|| host.display().to_string())?
        } else {
            TreeEntry::Other
        };
        self.copy_one(what, host, path)
    }

    fn copy_one(&mut self, what: TreeEntry, host: &Path, path: &[u8]) -> Result<()> {
        let name = || host.display().to_string();
        let of = |metadata: &Metadata| CpioEntry {
            mode: metadata.permissions().mode(),
            // The format has 32 bits for the time: the years 1970 to 2106.
            time: clamped_u32(metadata.mtime().max(0).unsigned_abs()),
            ..CpioEntry::default()
        };
        match what {
            TreeEntry::Link(target) => {
                let target = target.as_bytes();
                let entry =
                    CpioEntry { mode: LINK, size: target.len() as u64, ..CpioEntry::default() };
                self.entry(path, entry, &mut &*target)
            }
            TreeEntry::File(file, metadata) => {
                let entry = CpioEntry { size: metadata.len(), ..of(&metadata) };
                self.entry(path, entry, &mut &file).with_context(name)
            }
            TreeEntry::Directory(directory, metadata) => {
                self.entry(path, of(&metadata), &mut io::empty()).with_context(name)?;
                tree::names(&directory).with_context(name)?.iter().try_for_each(|below| {
                    let host = host.join(below);
                    let what = tree::open_in(&directory, below);
                    let what = what.with_context(|| host.display().to_string())?;
                    self.copy_one(what, &host, &[path, b"/", below.as_bytes()].concat())
                })
            }
            TreeEntry::Other => {
                bail!("{}: only files, directories and links can be put into a guest", name())
            }
        }
    }

    fn bytes(&mut self, path: &str, mode: u32, bytes: &mut &[u8]) -> Result<()> {
        let entry = CpioEntry { mode, size: bytes.len() as u64, ..CpioEntry::default() };
        self.entry(path.as_bytes(), entry, bytes)
    }

    fn entry(&mut self, path: &[u8], entry: CpioEntry, bytes: &mut dyn Read) -> Result<()> {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        ensure!(path.len() <= LONGEST_NAME, "its name is too long");
        let CpioEntry { mode, time, size, device: (major, minor) } = entry;
        let length = u32::try_from(size).context("it is larger than 4 GiB")?;
        let name = u32::try_from(path.len() + 1)?;
        self.entries += 1;
        let links = 1;
        let fields = [self.entries, mode, 0, 0, links, time, length, 0, 0, major, minor, name, 0];
        let mut header = String::from("070701");
        for field in fields {
            use std::fmt::Write;
            // Cannot fail: a String grows.
            let _ = write!(header, "{field:08x}");
        }
        self.write(header.as_bytes())?;
        self.write(path)?;
        self.write(&[0])?;
        self.pad()?;
        let copied = io::copy(&mut bytes.take(size), &mut self.to)?;
        ensure!(copied == size, "it became shorter while it was read");
        self.written += copied;
        self.pad()
    }

    /// Write the last entry.
    fn end(&mut self) -> Result<()> {
        self.entry(TRAILER.as_bytes(), CpioEntry::default(), &mut io::empty())?;
        Ok(self.to.flush()?)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> Result<()> {
        let zeroes = self.written.next_multiple_of(4) - self.written;
        let zeroes = [0; 4].get(..usize::try_from(zeroes)?).unwrap_or_default().to_vec();
        self.write(&zeroes)
    }
}

/// The attributes of an entry.
#[derive(Debug, Clone, Copy, Default)]
struct CpioEntry {
    mode: u32,
    /// The time of the last change: seconds since 1970.
    time: u32,
    /// Length in bytes.
    size: u64,
    /// Major and minor number.
    device: (u32, u32),
}

#[cfg(test)]
mod tests;
