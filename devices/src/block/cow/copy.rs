//! Copies a range of one file to another, without its holes.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use crate::number::index;
use crate::sys;

/// Bytes that are copied at once where the kernel cannot copy by itself.
const BUFFER: u64 = 1 << 20;

/// Copies the bytes in `range` of a file to byte `at` of another, where there is a hole. The
/// kernel copies by itself where it can, and the files share blocks where the file system
/// can do that.
pub(super) fn copy_data(from: &File, range: &Range<u64>, to: &File, at: u64) -> io::Result<()> {
    let mut start = range.start;
    while let Some(data) = next_data(from, &(start..range.end))? {
        start = data.end;
        let place = at + (data.start - range.start);
        copy_extent(from, data, to, place)?;
    }
    Ok(())
}

/// Returns the next part of `range` that may be something else than a hole.
pub(super) fn next_data(file: &File, range: &Range<u64>) -> io::Result<Option<Range<u64>>> {
    if range.is_empty() {
        return Ok(None);
    }
    let Some(start) = sys::seek_data(file.as_fd(), range.start)? else { return Ok(None) };
    if start >= range.end {
        return Ok(None);
    }
    let end = sys::seek_hole(file.as_fd(), start)?.min(range.end);
    // A file that becomes shorter meanwhile has no data there.
    Ok(Some(start..end).filter(|data| !data.is_empty()))
}

fn copy_extent(from: &File, mut data: Range<u64>, to: &File, mut at: u64) -> io::Result<()> {
    while !data.is_empty() {
        let length = data.end - data.start;
        let count = match sys::copy_file_range(from.as_fd(), data.start, to.as_fd(), at, length) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if must_copy_here(&error) => copy_piece(from, &data, to, at)?,
            done => done?,
        };
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        data.start += count;
        at += count;
    }
    Ok(())
}

/// Copies the beginning of a range through memory, and returns how many bytes.
fn copy_piece(from: &File, data: &Range<u64>, to: &File, at: u64) -> io::Result<u64> {
    let length = (data.end - data.start).min(BUFFER);
    let mut bytes = vec![0; index(length)];
    from.read_exact_at(&mut bytes, data.start)?;
    to.write_all_at(&bytes, at)?;
    Ok(length)
}

/// Whether an error of copy_file_range(2) is about the kind of the files.
fn must_copy_here(error: &io::Error) -> bool {
    let known = [libc::EXDEV, libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::EPERM];
    error.raw_os_error().is_some_and(|error| known.contains(&error))
}
