//! Reports how far the reading of a large file is. The caller that loads a kernel decides how.

use std::io::{self, Read};

/// Takes the number of bytes that were read since the last call. Dropping it ends the report.
pub(crate) type Progress = Box<dyn FnMut(u64)>;

/// Begins a report: what is read, and its size in bytes.
pub(crate) type Watch = fn(what: &str, total: u64) -> Progress;

/// A report that nobody sees.
pub(crate) fn unwatched(_what: &str, _total: u64) -> Progress {
    Box::new(|_| {})
}

/// A stream that reports how far it has been read.
pub(super) struct Watched<R> {
    bytes: R,
    progress: Progress,
}

impl<R: Read> Watched<R> {
    /// Report what is read from `bytes`.
    pub(super) fn new(bytes: R, progress: Progress) -> Self {
        Self { bytes, progress }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        (self.progress)(count as u64);
        Ok(count)
    }
}
