//! Opens the files below a directory of the user so that a name means one file from the check to
//! the last byte: a user who may write to the directory cannot put a link, a FIFO or a device in a
//! file's place meanwhile.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

/// What a name led to when it was opened.
#[derive(Debug)]
pub(super) enum TreeEntry {
    File(File, Metadata),
    Directory(File, Metadata),
    /// A symbolic link, with its target.
    Link(OsString),
    /// A FIFO, a socket or a device.
    Other,
}

/// Open the file that a path leads to.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn open(path: &Path) -> io::Result<TreeEntry> {
    // Opening a FIFO does not wait for a writer.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    look(File::options().read(true).custom_flags(flags.bits()).open(path)?)
}

/// Open the file of this name in a directory. A link is not followed.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn open_in(directory: &File, name: &OsStr) -> io::Result<TreeEntry> {
    let at = |flags| openat(directory, name, flags | OFlag::O_CLOEXEC, Mode::empty());
    // A device is not even opened, because opening may have an effect.
    let path = File::from(at(OFlag::O_PATH | OFlag::O_NOFOLLOW)?);
    let kind = path.metadata()?.file_type();
    if kind.is_symlink() {
        return Ok(TreeEntry::Link(readlinkat(&path, OsStr::new(""))?));
    }
    if !kind.is_dir() && !kind.is_file() {
        return Ok(TreeEntry::Other);
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    match at(flags) {
        Ok(file) => look(File::from(file)),
        // A user has just put a link or a socket there.
        Err(Errno::ELOOP | Errno::ENXIO) => Ok(TreeEntry::Other),
        Err(error) => Err(error.into()),
    }
}

fn look(file: File) -> io::Result<TreeEntry> {
    let metadata = file.metadata()?;
    Ok(match metadata.file_type() {
        kind if kind.is_file() => TreeEntry::File(file, metadata),
        kind if kind.is_dir() => TreeEntry::Directory(file, metadata),
        _ => TreeEntry::Other,
    })
}

/// The names in a directory, in order.
///
/// # Errors
/// When it cannot be read.
pub(super) fn names(directory: &File) -> io::Result<Vec<OsString>> {
    // The directory that was opened, whatever has its name by now.
    let entries = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
    let names = entries.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

    use nix::unistd::mkfifo;
    use tempfile::TempDir;

    use super::*;

    fn directory() -> (TempDir, File) {
        let scratch = TempDir::new().unwrap();
        fs::write(scratch.path().join("file"), "text").unwrap();
        fs::create_dir(scratch.path().join("below")).unwrap();
        symlink("/etc/passwd", scratch.path().join("link")).unwrap();
        mkfifo(&scratch.path().join("fifo"), Mode::S_IRWXU).unwrap();
        let directory = File::open(scratch.path()).unwrap();
        (scratch, directory)
    }

    #[test]
    fn each_type_of_file_is_recognized() {
        let (_scratch, directory) = directory();
        assert_eq!(names(&directory).unwrap(), ["below", "fifo", "file", "link"]);
        let open = |name: &str| open_in(&directory, name.as_ref()).unwrap();
        assert!(matches!(open("file"), TreeEntry::File(_, it) if it.len() == 4));
        assert!(matches!(open("below"), TreeEntry::Directory(..)));
        assert!(matches!(open("link"), TreeEntry::Link(to) if to == "/etc/passwd"));
        assert!(matches!(open("fifo"), TreeEntry::Other));
        assert!(open_in(&directory, "none".as_ref()).is_err());
    }

    /// Swap a file for something else, again and again. What is opened is the file or what it was
    /// swapped for, and never the target of a link. Opening never waits for a FIFO's other end.
    #[test]
    fn a_name_that_changes_is_never_followed() {
        let (scratch, directory) = directory();
        let over = AtomicBool::new(false);
        let swap = |other: &str| {
            let at = |name: &str| scratch.path().join(name);
            let _ = fs::remove_file(at("new"));
            fs::hard_link(at(other), at("new")).unwrap();
            fs::rename(at("new"), at("name")).unwrap();
        };
        let swap_all = || {
            while !over.load(Relaxed) {
                ["link", "fifo", "file"].into_iter().for_each(swap);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(swap_all);
            for _ in 0..20_000 {
                let found = open_in(&directory, "name".as_ref()).ok();
                let length = found.and_then(|found| match found {
                    TreeEntry::File(_, metadata) => Some(metadata.len()),
                    _ => None,
                });
                assert!(length.is_none_or(|length| length == 4), "{length:?}");
            }
            over.store(true, Relaxed);
        });
    }
}
