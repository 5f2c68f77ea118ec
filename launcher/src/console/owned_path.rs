//! A name of a console's host end in the file system: a socket, or the link to a pseudo-terminal.
//! It is created under a temporary name and then renamed, so that it is complete when it appears.
//! Dropping it removes it, unless it has been replaced meanwhile. What a killed launcher left is
//! replaced; what a process uses is not.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf, absolute};

use anyhow::{Result, bail, ensure};
use host::listener::listen_alone;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// The longest path of a socket: struct sockaddr_un has 108 bytes for it and its NUL.
const SOCKET_PATH: usize = 107;

/// The length of a temporary name: a slash, a dot and six characters.
const TEMPORARY: usize = 8;

/// A name in the file system that this launcher has created.
#[derive(Debug)]
pub(crate) struct OwnedPath {
    path: PathBuf,
    /// Device and inode of the created file: another user may have replaced it.
    made: (u64, u64),
}

impl OwnedPath {
    /// Create a listening socket of this name that only this user can connect to.
    ///
    /// # Errors
    /// When the name is taken, or cannot be created.
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
        Self::new(path, stale, listen_alone)
    }

    /// Create a symbolic link of this name to `target`.
    ///
    /// # Errors
    /// When the name is taken, or cannot be created.
    pub(super) fn link(path: &Path, target: &Path) -> Result<Self> {
        let stale = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
            Ok(there) if there.is_symlink() => {
                let to = fs::read_link(path)?;
                // The target was free a moment ago, so an existing link to it is stale.
                if to != target && fs::symlink_metadata(path.with_file_name(&to)).is_ok() {
                    bail!("it is there already, a link to {}: remove it", to.display());
                }
                true
            }
            Ok(_) => bail!("it is there already: remove it, or give another name"),
        };
        Ok(Self::new(path, stale, |temporary| symlink(target, temporary))?.1)
    }

    /// Create a file with `make`, under its name at once; if the existing one is `stale`, in its
    /// place. Until then it has a name that nobody can guess and take.
    fn new<T>(
        path: &Path,
        stale: bool,
        make: impl FnMut(&Path) -> io::Result<T>,
    ) -> Result<(T, Self)> {
        let path = absolute(path)?;
        let (Some(directory), Some(_)) = (path.parent(), path.file_name()) else {
            bail!("it is not a file name");
        };
        let mut directory = directory.to_path_buf();
        let open = File::options().read(true).custom_flags(libc::O_PATH).open(&directory)?;
        if directory.as_os_str().len() + TEMPORARY > SOCKET_PATH {
            // Short enough for a socket in any directory.
            directory = format!("/proc/self/fd/{}", open.as_raw_fd()).into();
        }
        // Dropping it removes the file if it still has its temporary name.
        let made = tempfile::Builder::new().prefix(".").make_in(directory, make)?;
        let (made, temporary) = made.into_parts();
        let there = fs::symlink_metadata(&temporary)?;
        let flags = if stale { RenameFlags::empty() } else { RenameFlags::RENAME_NOREPLACE };
        match renameat2(AT_FDCWD, &*temporary, AT_FDCWD, &path, flags) {
            // The file system does not support RENAME_NOREPLACE.
            Err(Errno::EINVAL) => fs::rename(&temporary, &path)?,
            done => done?,
        }
        Ok((made, Self { path, made: (there.dev(), there.ino()) }))
    }
}

impl Drop for OwnedPath {
    /// Remove the name, if it is still this launcher's. After a chroot the name cannot be found,
    /// and stays.
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == self.made);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}
