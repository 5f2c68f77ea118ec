//! Reports on the progress of reading a large file. The program that loads a kernel decides how to
//! show them.

use std::io::{self, Read};

/// A report in progress. Its argument is the number of bytes that were read since the last call.
/// Dropping it ends the report.
pub(crate) type ProgressReport = Box<dyn FnMut(u64)>;

/// Begins a report on reading a file: its name for messages, and its size in bytes.
pub(crate) type BeginReport = fn(what: &str, total: u64) -> ProgressReport;

/// Begin a report that is not shown.
pub(crate) fn unwatched(_what: &str, _total: u64) -> ProgressReport {
    Box::new(|_| {})
}

/// A stream that reports the progress of reading it.
pub(super) struct ReportingReader<R> {
    bytes: R,
    progress: ProgressReport,
}

impl<R: Read> ReportingReader<R> {
    /// Report the number of bytes read from `bytes`.
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
