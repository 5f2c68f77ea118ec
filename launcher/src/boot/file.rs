//! Opens the files that the user named, and says what is wrong with them before
//! anything else does. Used for kernels and initrds.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};

/// Open a file for reading; it is seekable.
pub(super) fn open(path: &Path) -> Result<File> {
    // Asked before opening: that could wait for the other end of a FIFO.
    let kind = fs::metadata(path).map_err(explain)?.file_type();
    ensure!(!kind.is_dir(), "it is a directory: give a file in it");
    ensure!(kind.is_file(), "it is not a regular file: copy it to one");
    File::open(path).map_err(explain)
}

fn explain(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::NotFound => anyhow!("no such file"),
        ErrorKind::PermissionDenied => {
            anyhow!("permission denied: make it readable, or copy it to where it is")
        }
        _ => error.into(),
    }
}

/// Up to `length` bytes from the beginning of a stream.
pub(super) fn head(bytes: &mut impl Read, length: usize) -> Result<Vec<u8>> {
    let mut head = Vec::with_capacity(length);
    bytes.by_ref().take(length as u64).read_to_end(&mut head).context("reading it")?;
    Ok(head)
}
