//! Snapshots: a guest that was saved to a directory, with its memory, its devices and its
//! terminals. The launcher of a running guest writes the files ([`save`]), into descriptors that
//! `lguest snapshot` has opened; `lguest restore` opens the directory ([`opened`]) and starts a
//! guest from it; a launch with `--warm` makes such a directory itself, or starts from it ([`warm`]).
//! docs/snapshots.md has the format and its rules.
//!
//! `lguest snapshot` makes the directory under another name, and renames it when everything is on
//! the disk: a directory of the right name is a complete snapshot. Nobody writes to it afterwards.

pub(crate) mod directory;
pub(crate) mod manifest;
pub(crate) mod opened;
pub(crate) mod restore;
pub(crate) mod save;
pub(crate) mod warm;

use host::disk::{DiskAccess, DiskIdentity};
pub(crate) use manifest::Manifest;
pub(crate) use opened::Snapshot;
use warm::NewWarm;

use crate::exec::ExecPath;

/// Where a guest comes from.
#[derive(Debug)]
pub(crate) enum GuestOrigin {
    /// The guest boots.
    Boot,
    /// The guest boots, and is saved when it can run its command.
    BootAndSave(NewWarm),
    /// The guest continues from a snapshot.
    Restore(Box<Snapshot>),
}

impl GuestOrigin {
    /// The snapshot from which the guest continues, if it does.
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        match self {
            Self::Restore(snapshot) => Some(snapshot),
            Self::Boot | Self::BootAndSave(_) => None,
        }
    }

    /// The snapshot from which the guest continues, and the one that is made of it.
    pub(crate) fn into_parts(self) -> (Option<Box<Snapshot>>, Option<NewWarm>) {
        match self {
            Self::Boot => (None, None),
            Self::BootAndSave(new) => (None, Some(new)),
            Self::Restore(snapshot) => (Some(snapshot), None),
        }
    }

    /// How the guest comes to its command, if it has one.
    pub(crate) fn exec_path(&self) -> ExecPath {
        match self {
            Self::Boot => ExecPath::Boot,
            Self::BootAndSave(_) => ExecPath::BootAndSave,
            Self::Restore(_) => ExecPath::Restore,
        }
    }
}

/// The file with guest memory: the offset in it is the offset in the launcher's mapping.
pub(crate) const MEMORY: &str = "memory";

/// The file with the state of everything else.
pub(crate) const STATE: &str = "state.json";

/// The file that says what the others are. It is written last.
pub(crate) const MANIFEST: &str = "manifest.json";

/// The file with the output and the unread input of a console.
pub(crate) fn console_file(number: usize) -> String {
    format!("console-{number}")
}

/// The file with the private part of a copy-on-write disk.
pub(crate) fn disk_file(number: usize) -> String {
    format!("disk-{number}")
}

/// The files of a snapshot without the manifest, for a guest with this number of consoles
/// and these disks.
pub(crate) fn files(consoles: usize, disks: &[DiskIdentity]) -> Vec<String> {
    let fixed = [MEMORY, STATE].map(String::from).into_iter();
    let private = disks.iter().enumerate().filter(|(_, disk)| disk.access == DiskAccess::Cow);
    let private = private.map(|(number, _)| disk_file(number));
    fixed.chain((0..consoles).map(console_file)).chain(private).collect()
}
