//! Puts the user's files (`--file`) into their places. In the initial file system, a file gets a
//! new name. On a root disk, a file is mounted on its place, so that nothing is written to the
//! disk, except an empty file to mount on if the place does not exist.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lguest_init::FILES;
use nix::mount::{MsFlags, mount};

use crate::Result;

/// Puts all files into their places.
pub(crate) fn put_in_place(places: &[String], root: Option<&Path>) -> Result<()> {
    for (index, place) in places.iter().enumerate() {
        let from = PathBuf::from(format!("{FILES}/{index}"));
        let put = match root {
            None => put(&from, Path::new(place)),
            Some(root) => bind(&from, &root.join(place.trim_start_matches('/'))),
        };
        put.map_err(|error| {
            let hint = match error.raw_os_error() {
                Some(libc::EROFS) => ": give it a place below /run or /tmp, or the kernel \"rw\"",
                _ => "",
            };
            format!("putting a file at {place}: {error}{hint}")
        })?;
    }
    Ok(())
}

/// Puts `from` at `to`. A directory that already exists gets the entries that it does not have.
fn put(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let is_directory = |path: &Path| fs::symlink_metadata(path).is_ok_and(|it| it.is_dir());
    if is_directory(from) && to.is_dir() {
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            put(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    match fs::rename(from, to) {
        Err(error) if error.raw_os_error() == Some(libc::EXDEV) => copy(from, to),
        done => done,
    }
}

/// Copies to another file system, such as /tmp.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)
    } else if metadata.is_dir() {
        fs::create_dir_all(to)?;
        fs::set_permissions(to, metadata.permissions())?;
        put(from, to)
    } else {
        fs::copy(from, to)?;
        fs::remove_file(from)
    }
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    if !to.exists() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        if from.is_dir() {
            fs::create_dir(to)?;
        } else {
            File::create_new(to)?;
        }
    }
    Ok(mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}
