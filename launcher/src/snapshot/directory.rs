//! Makes the directory of a snapshot, all or nothing: the files are written into `DIR.tmp`, and
//! `DIR` appears when all of them are on the disk. A directory that was left behind by a client
//! that was killed is removed by the next one.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::fcntl::{Flock, FlockArg, RenameFlags, renameat2};

use super::{MANIFEST, MEMORY, STATE};

/// A directory for a snapshot that is not complete yet. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct NewDirectory {
    path: PathBuf,
    temporary: PathBuf,
    /// The directory that will have the snapshot's.
    parent: File,
    /// The temporary directory, locked against other clients.
    lock: Option<Flock<File>>,
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
        let name = path.file_name().context("it has no name of its own")?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let directory = File::open(&parent).with_context(|| parent.display().to_string())?;
        let temporary = parent.join(with_suffix(name, ".tmp"));
        let make = || fs::DirBuilder::new().mode(0o700).create(&temporary);
        let lock = match make() {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                remove_abandoned(&temporary)?;
                make().and_then(|()| lock(&temporary))
            }
            made => made.and_then(|()| lock(&temporary)),
        };
        let lock = lock.with_context(|| format!("making {}", temporary.display()))?;
        let path = parent.join(name);
        Ok(Self { path, temporary, parent: directory, lock: Some(lock), is_done: false })
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
        match renameat2(parent, from, parent, to, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => {}
            // Some network file systems lack the flag. A directory replaces only an empty one.
            Err(nix::errno::Errno::EINVAL) => {
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

/// Lock a directory, against another client that takes it for abandoned.
fn lock(directory: &Path) -> io::Result<Flock<File>> {
    let file = File::open(directory)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
}

/// Remove the temporary directory of a client that was killed.
fn remove_abandoned(temporary: &Path) -> Result<()> {
    let shown = temporary.display();
    ensure!(temporary.symlink_metadata()?.is_dir(), "{shown} is in the way: remove it");
    let Ok(_lock) = lock(temporary) else {
        bail!("another snapshot of that name is being written to {shown}");
    };
    for entry in fs::read_dir(temporary).with_context(|| shown.to_string())? {
        let name = entry?.file_name();
        ensure!(
            name.to_str().is_some_and(is_file_name),
            "{shown} is in the way, and is not an unfinished snapshot: rename it"
        );
    }
    fs::remove_dir_all(temporary).with_context(|| format!("removing {shown}"))
}

/// Whether a snapshot has a file of this name.
fn is_file_name(name: &str) -> bool {
    let is_numbered = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|number| number.parse::<usize>().is_ok())
    };
    [MANIFEST, MEMORY, STATE].contains(&name) || is_numbered("console-") || is_numbered("disk-")
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
