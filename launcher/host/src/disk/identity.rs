//! The identity of a disk, for the manifest of a snapshot: which file it is, in which state.

use std::io;
use std::path::{self, PathBuf};

use devices::block::FileStamp;
use serde::{Deserialize, Serialize};

use super::Disk;

/// What the guest can do to a disk's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskAccess {
    /// The guest reads and writes the file.
    Write,
    /// The guest only reads the file.
    ReadOnly,
    /// The guest reads the file, and writes to a private part.
    Cow,
}

/// The identity of a disk. Two disks with the same identity have the same contents, except for
/// private parts, and as far as the host records modifications: it does so for files, and not for
/// block devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskIdentity {
    /// The file or block device, from the root directory on.
    pub path: PathBuf,
    /// The length of the file in bytes.
    pub length: u64,
    /// The number of the block device, or of the device that the file is on.
    pub device: u64,
    /// The inode; 0 for a block device.
    pub inode: u64,
    /// The last modification, in seconds since 1970; 0 for a block device.
    pub seconds: i64,
    /// The nanoseconds of the last modification.
    pub nanoseconds: u32,
    /// Whether it is a block device.
    pub is_block_device: bool,
    /// What the guest can do to the file.
    pub access: DiskAccess,
}

impl Disk {
    /// The disk's identity as it is now. That of a copy-on-write disk is from the time when the
    /// disk was opened.
    ///
    /// # Errors
    /// When the host cannot tell.
    pub fn identity(&self) -> io::Result<DiskIdentity> {
        let access = match (self.image.is_copy_on_write(), self.image.is_read_only()) {
            (true, _) => DiskAccess::Cow,
            (_, true) => DiskAccess::ReadOnly,
            _ => DiskAccess::Write,
        };
        let stamp = self.image.stamp()?;
        let FileStamp { length, seconds, nanoseconds, is_block_device, inode, device } = stamp;
        let path = path::absolute(&self.path)?;
        let identity = DiskIdentity {
            path,
            length,
            device,
            inode,
            seconds,
            nanoseconds,
            is_block_device,
            access,
        };
        Ok(identity)
    }
}
