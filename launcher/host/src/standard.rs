//! The descriptors that the launcher was started with, by the names that they have in the file
//! system: /dev/stdout, /proc/self/fd/1. A socket (a service's journal) cannot be opened by such a
//! name. A regular file can, but lguest would overwrite it from its beginning. A duplicate of the
//! descriptor works for both. Used for files that the user names for output.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// A duplicate of stdout, stderr or stdin, if this path leads to one of them that is writable.
///
/// # Errors
/// When the host has no descriptor to spare, or the path leads to another socket.
pub fn duplicate(path: &Path) -> io::Result<Option<File>> {
    let Ok(wanted) = fs::metadata(path) else { return Ok(None) };
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for stream in [stdout.as_fd(), stderr.as_fd(), stdin.as_fd()] {
        if is(stream, &wanted) && is_writable(stream) {
            return stream.try_clone_to_owned().map(|owned| Some(owned.into()));
        }
    }
    match wanted.file_type().is_socket() {
        true => Err(io::Error::other(
            "it is a socket, which cannot be opened as a file: name a file, or have a program read \
             a pipe and write to the socket (socat)",
        )),
        false => Ok(None),
    }
}

fn is(stream: BorrowedFd<'_>, wanted: &fs::Metadata) -> bool {
    let there = fs::metadata(format!("/proc/self/fd/{}", stream.as_raw_fd()));
    there.is_ok_and(|there| (there.dev(), there.ino()) == (wanted.dev(), wanted.ino()))
}

fn is_writable(stream: BorrowedFd<'_>) -> bool {
    let flags = fcntl(stream, FcntlArg::F_GETFL).map(OFlag::from_bits_truncate);
    flags.is_ok_and(|flags| flags & OFlag::O_ACCMODE != OFlag::O_RDONLY)
}
