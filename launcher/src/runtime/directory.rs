//! A directory that only this user can change, by its descriptor: the one of all guests, and the
//! one of each guest. A directory of another user, or one that others can write to, is refused.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use host::listener::listen_alone;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};

/// Write permission for the group or for others.
const OTHERS_WRITE: u32 = 0o022;

/// A directory that only this user can change.
#[derive(Debug)]
pub(crate) struct Directory {
    file: File,
    /// The path by which the directory was opened, for messages.
    path: PathBuf,
}

/// A lock on a directory, which one process at a time can hold.
#[derive(Debug)]
pub(super) struct DirLock(File);

impl Directory {
    /// The directory of all guests, created if needed.
    ///
    /// # Errors
    /// When it cannot be created, or another user can change it.
    pub(super) fn of_all() -> Result<Self> {
        let path = place()?;
        match mkdirat(AT_FDCWD, &path, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => Self::at(&path),
            Err(error) => bail!("making {}: {}: {ADVICE}", path.display(), error.desc()),
        }
    }

    /// The directory of all guests. None if it does not exist because there has been no guest yet.
    pub(super) fn of_all_if_there() -> Result<Option<Self>> {
        let path = place()?;
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Self::at(&path).map(Some),
        }
    }

    /// Open the directory at this path.
    pub(super) fn at(path: &Path) -> Result<Self> {
        let opened = openat(AT_FDCWD, path, FLAGS, Mode::empty());
        Self::checked(opened, path.to_path_buf())
    }

    /// Open the directory of this name in this one.
    pub(super) fn open(&self, name: &str) -> Result<Self> {
        Self::checked(openat(&self.file, name, FLAGS, Mode::empty()), self.path.join(name))
    }

    /// Open a directory in this one, and create it if it does not exist. The second value says
    /// whether it was created.
    pub(super) fn make(&self, name: &str) -> Result<(Self, bool)> {
        let made = match mkdirat(&self.file, name, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(error) => bail!("making {}: {}", self.path.join(name).display(), error.desc()),
        };
        let opened = self.open(name);
        if opened.is_err() && made {
            self.remove_directory(name);
        }
        Ok((opened?, made))
    }

    fn checked(opened: nix::Result<impl Into<File>>, path: PathBuf) -> Result<Self> {
        let shown = path.display();
        let file = opened.map_err(|error| match error {
            Errno::ELOOP | Errno::ENOTDIR => anyhow!("{shown}: it is not a directory: remove it"),
            error => anyhow!("{shown}: {}: {ADVICE}", error.desc()),
        })?;
        let file: File = file.into();
        let metadata = file.metadata().with_context(|| shown.to_string())?;
        ensure!(
            metadata.uid() == Uid::effective().as_raw(),
            "{shown}: it belongs to user {}: {ADVICE}",
            metadata.uid()
        );
        ensure!(
            metadata.mode() & OTHERS_WRITE == 0,
            "{shown}: others may write to it: remove it, or run chmod 700 {shown}"
        );
        Ok(Self { file, path })
    }

    /// Lock the directory. Waits for the process that has locked it, which does not take long.
    pub(super) fn lock(&self) -> Result<DirLock> {
        let file = self.file.try_clone().and_then(|file| file.lock().map(|()| file));
        Ok(DirLock(file.with_context(|| format!("locking {self}"))?))
    }

    /// Open a file in the directory, created if needed.
    pub(super) fn file(&self, name: &str) -> Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = openat(&self.file, name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let opened = opened.map_err(|error| {
            anyhow!("opening {}: {}", self.path.join(name).display(), error.desc())
        });
        Ok(opened?.into())
    }

    /// Create a listening socket in the directory.
    pub(super) fn listen(&self, name: &str) -> io::Result<UnixListener> {
        listen_alone(&self.address(name))
    }

    /// Connect to a socket in the directory.
    pub(super) fn connect(&self, name: &str) -> io::Result<UnixStream> {
        UnixStream::connect(self.address(name))
    }

    /// The names of the entries of the directory.
    pub(super) fn entries(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(self.address(".")).with_context(|| format!("reading {self}"))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// An inotify descriptor that reports everything that is created in the directory from now on.
    pub(super) fn events(&self) -> Result<Inotify> {
        let events = Inotify::init(InitFlags::IN_CLOEXEC)?;
        events
            .add_watch(&self.address("."), AddWatchFlags::IN_CREATE)
            .with_context(|| format!("watching {self}"))?;
        Ok(events)
    }

    /// The path of a file in the directory, for system calls that take only paths. It goes through
    /// the descriptor, so that it leads nowhere else and is short enough for a socket.
    fn address(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.file.as_raw_fd()))
    }

    /// Remove a file in the directory, if it exists and may be removed.
    pub(super) fn remove(&self, name: &str) {
        let _ = unlinkat(&self.file, name, UnlinkatFlags::NoRemoveDir);
    }

    /// Remove a directory in this one, if it exists, is empty, and may be removed.
    pub(super) fn remove_directory(&self, name: &str) {
        let _ = unlinkat(&self.file, name, UnlinkatFlags::RemoveDir);
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // The descriptor shares its lock with the directory's own, so closing it does not unlock.
        let _ = self.0.unlock();
    }
}

const FLAGS: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// What to do if there is no directory for guests.
const ADVICE: &str = "set XDG_RUNTIME_DIR to a directory of your own";

fn place() -> Result<PathBuf> {
    match env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()) {
        Some(value) => {
            let path = PathBuf::from(value);
            ensure!(path.is_absolute(), "XDG_RUNTIME_DIR is not an absolute path: {ADVICE}");
            Ok(path.join("lguest"))
        }
        None if Uid::effective().is_root() => Ok(PathBuf::from("/run/lguest")),
        None => bail!("XDG_RUNTIME_DIR is not set: set it to a directory of your own"),
    }
}
