//! Makes the directory of a snapshot, all or nothing: the files are written into `DIR.tmp`, and
//! `DIR` appears when all of them are on the disk. A directory that was left behind by a client
//! that was killed is removed by the next one.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, RenameFlags, renameat2};

use super::{MANIFEST, MEMORY, STATE};

/// An empty file that marks a snapshot that `--warm` may replace. Nobody has asked to keep it.
const REPLACEABLE: &str = "warm";

/// A directory for a snapshot that is not complete yet. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct NewDirectory {
    path: PathBuf,
    temporary: PathBuf,
    /// The directory that will have the snapshot's.
    parent: File,
    /// The temporary directory, locked against other clients.
    lock: Option<Flock<File>>,
    /// Whether the new directory may take the place of an old one, and be replaced itself.
    replaces: bool,
    is_done: bool,
}

impl NewDirectory {
    /// Make the temporary directory beside `path`.
    ///
    /// # Errors
    /// When `path` exists, or the directory cannot be made.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        ensure!(
            path.symlink_metadata().is_err(),
            "it exists already: give another name, or remove it (rm -r)"
        );
        Self::beside(path, false)?.context("another snapshot of that name is being written")
    }

    /// Make the temporary directory for a snapshot that takes the place of the old one, if there is
    /// one. None if another process is making it.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(crate) fn replacing(path: &Path) -> Result<Option<Self>> {
        let Some(new) = Self::beside(path, true)? else { return Ok(None) };
        new.file(REPLACEABLE)?;
        Ok(Some(new))
    }

    /// Make the temporary directory beside `path`. None if another process has it.
    fn beside(path: &Path, replaces: bool) -> Result<Option<Self>> {
        let name = path.file_name().context("it has no name of its own")?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let directory = File::open(&parent).with_context(|| parent.display().to_string())?;
        let temporary = parent.join(with_suffix(name, ".tmp"));
        let make = || fs::DirBuilder::new().mode(0o700).create(&temporary);
        let made = match make() {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if !remove_abandoned(&temporary)? {
                    return Ok(None);
                }
                make()
            }
            made => made,
        };
        let locked = match made {
            Ok(()) => lock(&temporary),
            // Another process has just made it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        };
        let lock = locked.with_context(|| format!("making {}", temporary.display()))?;
        if lock.is_none() {
            return Ok(None);
        }
        let (path, parent) = (parent.join(name), directory);
        Ok(Some(Self { path, temporary, parent, lock, replaces, is_done: false }))
    }

    /// Create one of the files. Only its owner can read it, and nobody can write it later.
    ///
    /// # Errors
    /// When the host refuses.
    pub(crate) fn file(&self, name: &str) -> Result<File> {
        let path = self.temporary.join(name);
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o400);
        options.open(&path).with_context(|| format!("making {}", path.display()))
    }

    /// Write the manifest, and give the directory its name. All other files are on the disk.
    ///
    /// # Errors
    /// When the host refuses. The directory is removed then.
    pub(crate) fn finish(mut self, manifest: &str) -> Result<()> {
        let written = (|| -> io::Result<()> {
            let mut file = self.file(MANIFEST).map_err(io::Error::other)?;
            file.write_all(manifest.as_bytes())?;
            file.sync_all()?;
            let Some(lock) = &self.lock else { return Ok(()) };
            lock.sync_all()
        })();
        written.with_context(|| format!("writing {MANIFEST}"))?;
        let names = [&self.temporary, &self.path].map(|path| path.file_name().unwrap_or_default());
        let [from, to] = names;
        let parent = self.parent.as_fd();
        if self.replaces && self.path.symlink_metadata().is_ok() {
            let exchange = || renameat2(parent, from, parent, to, RenameFlags::RENAME_EXCHANGE);
            exchange().map_err(io::Error::from).context("exchanging it for the old one")?;
            // The old directory has the temporary name.
            if !is_replaceable(&self.temporary)? {
                exchange().map_err(io::Error::from).context("leaving the other one in place")?;
                bail!("another directory of that name was made meanwhile");
            }
            self.is_done = true;
            // Guests that continue from it keep its files. What is left is removed by the next run.
            let _ = fs::remove_dir_all(&self.temporary);
            return self.parent.sync_all().context("writing its directory");
        }
        match renameat2(parent, from, parent, to, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => {}
            // Some network file systems lack the flag. A directory replaces only an empty one.
            Err(Errno::EINVAL) => {
                fs::rename(&self.temporary, &self.path).context("renaming it")?;
            }
            Err(error) => return Err(anyhow!(io::Error::from(error)).context("renaming it")),
        }
        self.is_done = true;
        self.parent.sync_all().context("writing its directory")
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        if !self.is_done {
            // What is left is removed by the next snapshot of this name.
            let _ = fs::remove_dir_all(&self.temporary);
        }
    }
}

fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut longer = name.to_os_string();
    longer.push(suffix);
    longer
}

/// Lock a directory, against another process that takes it for abandoned. None if another process
/// has locked it, or has put another one in its place.
fn lock(directory: &Path) -> io::Result<Option<Flock<File>>> {
    let opened = match File::open(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let inode = opened.metadata()?.ino();
    let locked = match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        locked => locked.map_err(|(_, error)| error)?,
    };
    let is_same = fs::metadata(directory).is_ok_and(|now| now.ino() == inode);
    Ok(is_same.then_some(locked))
}

/// Remove the temporary directory of a process that was killed. Returns false if the process exists.
fn remove_abandoned(temporary: &Path) -> Result<bool> {
    let shown = temporary.display();
    // Another process may have removed it meanwhile.
    let Ok(metadata) = temporary.symlink_metadata() else { return Ok(true) };
    ensure!(metadata.is_dir(), "{shown} is in the way: remove it");
    let Some(_lock) = lock(temporary)? else { return Ok(false) };
    ensure!(
        has_only_files(temporary)?,
        "{shown} is in the way, and is not an unfinished snapshot: rename it"
    );
    fs::remove_dir_all(temporary).with_context(|| format!("removing {shown}"))?;
    Ok(true)
}

/// Whether a directory is a snapshot that `--warm` has made, and may remove.
///
/// # Errors
/// When it cannot be read.
pub(super) fn is_replaceable(directory: &Path) -> Result<bool> {
    Ok(directory.symlink_metadata()?.is_dir()
        && directory.join(REPLACEABLE).symlink_metadata().is_ok()
        && has_only_files(directory)?)
}

/// Whether all entries of a directory have names of a snapshot's files.
fn has_only_files(directory: &Path) -> Result<bool> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        if !entry?.file_name().to_str().is_some_and(is_file_name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a snapshot has a file of this name.
fn is_file_name(name: &str) -> bool {
    let is_numbered = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|number| number.parse::<usize>().is_ok())
    };
    [MANIFEST, MEMORY, STATE, REPLACEABLE].contains(&name)
        || is_numbered("console-")
        || is_numbered("disk-")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn entries(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_appears_when_it_is_whole() {
        let all = tempfile::tempdir().unwrap();
        let new = NewDirectory::create(&all.path().join("snap")).unwrap();
        new.file("memory").unwrap().write_all(b"pages").unwrap();
        assert_eq!(entries(all.path()), ["snap.tmp"]);

        new.finish("{}").unwrap();

        assert_eq!(entries(all.path()), ["snap"]);
        let snap = all.path().join("snap");
        assert_eq!(entries(&snap), ["manifest.json", "memory"]);
        assert_eq!(["memory", "manifest.json"].map(|name| mode(&snap.join(name))), [0o400; 2]);
    }

    #[test]
    fn nothing_is_left_of_a_directory_that_was_given_up() {
        let all = tempfile::tempdir().unwrap();
        let new = NewDirectory::create(&all.path().join("snap")).unwrap();
        new.file("memory").unwrap();
        drop(new);
        assert!(entries(all.path()).is_empty());
    }

    #[test]
    fn an_existing_name_is_refused_at_once_and_at_the_end() {
        let all = tempfile::tempdir().unwrap();
        let path = all.path().join("snap");
        let new = NewDirectory::create(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("mine"), "").unwrap();
        let error = NewDirectory::create(&path).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        assert!(new.finish("{}").is_err());
        assert_eq!(entries(all.path()), ["snap"]);
        assert_eq!(entries(&path), ["mine"]);
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let all = tempfile::tempdir().unwrap();
        let mine = all.path().join("snap.tmp");
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join("notes"), "").unwrap();
        let error = NewDirectory::create(&all.path().join("snap")).unwrap_err();
        assert!(error.to_string().contains("is not an unfinished snapshot"), "{error}");
        assert_eq!(entries(&mine), ["notes"]);
    }

    #[test]
    fn an_old_directory_is_replaced_when_the_new_one_is_complete() {
        let all = tempfile::tempdir().unwrap();
        let path = all.path().join("warm");
        for generation in ["first", "second"] {
            let new = NewDirectory::replacing(&path).unwrap().unwrap();
            assert!(NewDirectory::replacing(&path).unwrap().is_none());
            new.finish(generation).unwrap();
            assert_eq!(fs::read_to_string(path.join(MANIFEST)).unwrap(), generation);
            assert_eq!(entries(all.path()), ["warm"]);
            assert!(is_replaceable(&path).unwrap());
        }
        fs::write(path.join("mine"), "").unwrap();
        assert!(!is_replaceable(&path).unwrap());
    }

    #[test]
    fn what_a_user_has_made_is_not_replaced() {
        let all = tempfile::tempdir().unwrap();
        let path = all.path().join("saved");
        NewDirectory::create(&path).unwrap().finish("{}").unwrap();
        assert!(!is_replaceable(&path).unwrap());
        // Made while the guest booted.
        let new = NewDirectory::replacing(&path).unwrap().unwrap();
        let error = new.finish("{}").unwrap_err();
        assert!(error.to_string().contains("was made meanwhile"), "{error}");
        assert_eq!(entries(&path), [MANIFEST]);
        assert_eq!(entries(all.path()), ["saved"]);
    }

    #[test]
    fn a_directory_of_a_client_that_was_killed_is_removed() {
        let all = tempfile::tempdir().unwrap();
        let path = all.path().join("snap");
        let mut killed = NewDirectory::create(&path).unwrap();
        killed.file("memory").unwrap();
        let busy = NewDirectory::create(&path).unwrap_err();
        assert!(busy.to_string().contains("is being written"), "{busy}");
        killed.lock = None;

        NewDirectory::create(&path).unwrap().finish("{}").unwrap();

        assert_eq!(entries(&path), ["manifest.json"]);
        killed.is_done = true;
    }
}
