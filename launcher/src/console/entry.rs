//! A name that a console's host end has in the file system: a socket, or the link to a
//! pseudo-terminal. It is made under another name and then renamed, so that it is
//! complete from the first moment on, and removed when it is dropped, if it is still
//! ours. What a killed launcher left is replaced; what somebody uses is not. Made by
//! [`super::socket`] and [`super::pty`].

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// The longest path of a socket: struct sockaddr_un has 108 bytes for it and its NUL.
const SOCKET_PATH: usize = 107;

/// A name that is ours.
#[derive(Debug)]
pub(crate) struct Entry {
    path: PathBuf,
    /// Device and inode of what we made: somebody may have put something else there.
    made: (u64, u64),
}

impl Entry {
    /// A socket of this name, listening, for us alone.
    ///
    /// # Errors
    /// When the name is taken, or cannot be had.
    pub(super) fn socket(path: &Path) -> Result<(UnixListener, Self)> {
        let length = path.as_os_str().len();
        ensure!(
            length <= SOCKET_PATH,
            "it has {length} bytes, and the path of a socket has {SOCKET_PATH} at most: give a \
             shorter one (below /run or /tmp), or a relative one (cd DIR first)"
        );
        let stale = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
            Ok(there) if !there.file_type().is_socket() => {
                bail!("it is there already, and no socket: remove it, or give another name");
            }
            Ok(_) => match UnixStream::connect(path) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => true,
                _ => bail!("somebody listens there already: give another name"),
            },
        };
        let mut listener = None;
        let entry = Self::new(path, stale, |temporary| {
            let made = UnixListener::bind(temporary)?;
            fs::set_permissions(temporary, Permissions::from_mode(0o600))?;
            listener = Some(made);
            Ok(())
        })?;
        Ok((listener.context("there is none")?, entry))
    }

    /// A symbolic link of this name to `target`.
    ///
    /// # Errors
    /// When the name is taken, or cannot be had.
    pub(super) fn link(path: &Path, target: &Path) -> Result<Self> {
        let stale = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
            Ok(there) if there.is_symlink() => {
                let to = fs::read_link(path)?;
                // Ours was free a moment ago: whoever linked to it has lost it.
                if to != target && fs::symlink_metadata(path.with_file_name(&to)).is_ok() {
                    bail!("it is there already, a link to {}: remove it", to.display());
                }
                true
            }
            Ok(_) => bail!("it is there already: remove it, or give another name"),
        };
        Self::new(path, stale, |temporary| symlink(target, temporary))
    }

    /// What `make` makes, under its name at once; in the place of what is there if
    /// that is `stale`.
    fn new(path: &Path, stale: bool, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<Self> {
        let path = absolute(path)?;
        let name = path.file_name().context("it is no file name")?;
        let pid = std::process::id();
        let mut temporary = path.with_file_name(format!(".{}.{pid}", name.to_string_lossy()));
        let directory = path.parent().unwrap_or(&path);
        let directory = File::options().read(true).custom_flags(libc::O_PATH).open(directory)?;
        if temporary.as_os_str().len() > SOCKET_PATH {
            // Short enough for a socket, whatever the directory.
            temporary = format!("/proc/self/fd/{}/.lguest.{pid}", directory.as_raw_fd()).into();
        }
        make(&temporary)?;
        let renamed: io::Result<_> = (|| {
            let made = fs::symlink_metadata(&temporary)?;
            let flags = if stale { RenameFlags::empty() } else { RenameFlags::RENAME_NOREPLACE };
            match renameat2(AT_FDCWD, &temporary, AT_FDCWD, &path, flags) {
                // A file system that cannot make sure of it.
                Err(Errno::EINVAL) => fs::rename(&temporary, &path)?,
                done => done?,
            }
            Ok((made.dev(), made.ino()))
        })();
        match renamed {
            Ok(made) => Ok(Self { path, made }),
            Err(error) => {
                let _ = fs::remove_file(&temporary);
                Err(error.into())
            }
        }
    }
}

impl Drop for Entry {
    /// In a new root directory it is not to be found, and stays.
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == self.made);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}
