//! Opens the private parts of copy-on-write disks. One that is not kept is a file without a name,
//! beside the disk's file: so there is as much room for it as for a copy of the disk, and nothing
//! is left of it when the launcher ends, in whatever way.

use std::env;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use devices::block::{FileStamp, PrivateFile};

use super::{BlockConfig, KnownFiles, LockKind, PrivatePart, lock};

/// The directory of private parts if $TMPDIR is not set. /tmp is in memory on some hosts.
const TEMPORARY: &str = "/var/tmp";

/// Open the private part of a disk, which begins as the file with this stamp.
///
/// # Errors
/// When it cannot be used. The text has the cause and advice.
pub(super) fn open(
    config: &BlockConfig,
    part: &PrivatePart,
    stamp: FileStamp,
    name: &str,
    known: &mut KnownFiles,
) -> Result<PrivateFile> {
    let private = match part {
        PrivatePart::Temporary => {
            ensure!(
                !stamp.is_block_device,
                "a block device has no directory for what the guest writes: name a file for \
                 that (cow=PRIVATE)"
            );
            let directory = env::var_os("TMPDIR").filter(|value| !value.is_empty());
            let directory = directory.map_or_else(|| TEMPORARY.into(), PathBuf::from);
            let (file, notice) = temporary(&config.path, &directory)?;
            if let Some(notice) = notice {
                log::info!("{name}: {notice}");
            }
            PrivateFile::temporary(file, stamp).context("private part")?
        }
        PrivatePart::Kept(path) => {
            let opened = kept(path, known);
            let opened = opened.and_then(|file| Ok(PrivateFile::kept(file, stamp)?));
            opened.with_context(|| format!("private part {}", path.display()))?
        }
    };
    let Some(path) = &config.private_from else { return Ok(private) };
    let copied = || anyhow::Ok(private.copied(&File::open(path)?)?);
    copied().with_context(|| format!("saved private part {}", path.display()))
}

/// Make a file without a name in the directory of the disk or, if that is not writable, in
/// `other`. Then a text says where it is, and why.
fn temporary(disk: &Path, other: &Path) -> Result<(File, Option<String>)> {
    let disk = fs::canonicalize(disk).ok();
    let why = match disk.as_deref().and_then(Path::parent) {
        Some(beside) => match tempfile::tempfile_in(beside) {
            Ok(file) => return Ok((file, None)),
            Err(error) if is_closed(&error) => format!("{}: {error}", beside.display()),
            Err(error) => {
                let beside = beside.display();
                return Err(error).with_context(|| format!("making a private file in {beside}"));
            }
        },
        None => "its directory is gone".into(),
    };
    let place = other.display();
    let file = tempfile::tempfile_in(other).map_err(|error| {
        anyhow!(
            "there is no place for what the guest writes ({why}; {place}: {error}): set TMPDIR, \
             or name a file (cow=PRIVATE)"
        )
    })?;
    Ok((file, Some(format!("what the guest writes is in {place}, not beside the disk ({why})"))))
}

/// Whether an error says that files cannot be made in a directory.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// Open a private part that is kept, or make an empty file for it.
fn kept(path: &Path, known: &mut KnownFiles) -> Result<File> {
    // Checked before opening, which could wait for the other end of a FIFO.
    let is_other = fs::metadata(path).is_ok_and(|it| !it.is_file());
    ensure!(!is_other, "it is not a file: name one, or one that does not exist yet");
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("no such directory: make it (mkdir), or name another"),
        ErrorKind::PermissionDenied => anyhow!("permission denied: make it writable"),
        _ => error.into(),
    })?;
    ensure!(
        known.add(&file.metadata()?, false),
        "it is a file of another disk, or the disk itself: name one of its own"
    );
    lock(&file, LockKind::Exclusive, &path.display().to_string())?;
    Ok(file)
}

#[cfg(test)]
mod tests;
