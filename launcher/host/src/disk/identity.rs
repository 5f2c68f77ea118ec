//! The identity of a disk, for the manifest of a snapshot: which file it is, in which state.

use std::fmt;
use std::io;
use std::path::PathBuf;

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
    /// The state of the file.
    pub stamp: FileStamp,
    /// What the guest can do to the file.
    pub access: DiskAccess,
}

impl DiskIdentity {
    /// Check that the disk has the contents that it had: its identity is `now` that. A writable disk
    /// may be copy-on-write now.
    ///
    /// # Errors
    /// What has changed.
    pub fn check_unchanged(&self, now: &Self) -> Result<(), String> {
        let becomes_cow = self.access == DiskAccess::Write && now.access == DiskAccess::Cow;
        if self.access != now.access && !becomes_cow {
            return Err(format!("it was {}, and is {} now", self.access, now.access));
        }
        if let Some(what) = self.stamp.contents_difference(&now.stamp) {
            return Err(format!("it has changed since the snapshot: it has another {what}"));
        }
        if self.stamp.is_block_device {
            log::warn!(
                "disk {}: whether a block device has changed since the snapshot is not known",
                now.path.display()
            );
        }
        Ok(())
    }
}

impl fmt::Display for DiskAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "writable",
            Self::ReadOnly => "read-only",
            Self::Cow => "copy-on-write",
        })
    }
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
        Ok(DiskIdentity { path: self.path.clone(), stamp: self.image.stamp()?, access })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(access: DiskAccess) -> DiskIdentity {
        let stamp = FileStamp {
            length: 512,
            seconds: 3,
            nanoseconds: 4,
            is_block_device: false,
            inode: 2,
            device: 1,
        };
        DiskIdentity { path: "/disk".into(), stamp, access }
    }

    #[test]
    fn a_disk_that_was_written_to_is_not_the_same() {
        let saved = identity(DiskAccess::Write);
        let with = |stamp| DiskIdentity { stamp, ..saved.clone() };
        saved.check_unchanged(&saved).unwrap();
        // A copy with the same time is the same.
        saved.check_unchanged(&with(FileStamp { inode: 7, device: 8, ..saved.stamp })).unwrap();
        saved.check_unchanged(&identity(DiskAccess::Cow)).unwrap();
        for (now, words) in [
            (with(FileStamp { length: 1024, ..saved.stamp }), "another length"),
            (with(FileStamp { nanoseconds: 5, ..saved.stamp }), "the file was changed"),
            (with(FileStamp { seconds: 5, ..saved.stamp }), "the file was changed"),
            (identity(DiskAccess::ReadOnly), "it was writable, and is read-only now"),
        ] {
            let refusal = saved.check_unchanged(&now).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
        assert!(identity(DiskAccess::Cow).check_unchanged(&saved).is_err());
    }
}
