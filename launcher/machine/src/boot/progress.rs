//! Reports how far the reading of a large file is. The caller that loads a kernel decides how.

use std::io::{self, Read};

/// Takes the number of bytes that were read since the last call. Dropping it ends the report.
pub(crate) type ProgressReport = Box<dyn FnMut(u64)>;

/// Begins a report: what is read, and its size in bytes.
pub(crate) type BeginReport = fn(what: &str, total: u64) -> ProgressReport;

/// A report that nobody sees.
pub(crate) fn unwatched(_what: &str, _total: u64) -> ProgressReport {
    Box::new(|_| {})
}

/// A stream that reports how far it has been read.
pub(super) struct ReportingReader<R> {
    bytes: R,
    progress: ProgressReport,
}

impl<R: Read> ReportingReader<R> {
    /// Report what is read from `bytes`.
    pub(super) fn new(bytes: R, progress: ProgressReport) -> Self {
        Self { bytes, progress }
    }
}

impl<R: Read> Read for ReportingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        (self.progress)(count as u64);
        Ok(count)
    }
}
