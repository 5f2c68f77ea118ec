//! The file of a trace: a JSON array that is whole after each write, so that it can be
//! read at any time and however the launcher ends. Each write replaces the
//! end of the array by further lines and a new end.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

const BEGIN: &str = "[";
const END: &str = "\n]\n";

/// Open a file for a trace, without changing it yet.
pub(super) fn open(path: &Path) -> io::Result<File> {
    // Checked before opening, which would wait for the reader of a named pipe.
    let fits = |kind: fs::FileType| kind.is_file() || kind.is_dir() || kind.is_char_device();
    if fs::metadata(path).is_ok_and(|there| !fits(there.file_type())) {
        return Err(io::Error::other("a file is needed that can be written anywhere in it"));
    }
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

/// Why lines were not appended. Returned once.
#[derive(Debug)]
pub(super) enum AppendError {
    /// The file would exceed its limit.
    Limit,
    /// The write failed.
    Failed(io::Error),
}

/// A file with an array of lines, each an object.
#[derive(Debug)]
pub(super) struct TraceFile {
    file: File,
    /// The offset of the array's end.
    end: u64,
    limit: u64,
    /// The number of lines left out since the file was full. `None` before that.
    left_out: Option<u64>,
}

impl TraceFile {
    /// Replace the contents of the file by an empty array. The file grows to `limit` bytes at most.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn new(file: File, limit: u64) -> io::Result<Self> {
        // Only a regular file has a length.
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        file.write_all_at(format!("{BEGIN}{END}").as_bytes(), 0)?;
        Ok(Self { file, end: BEGIN.len() as u64, limit, left_out: None })
    }

    /// The number of lines that were left out since the file was full.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.unwrap_or(0)
    }

    /// Append these lines: all of them, or none.
    ///
    /// # Errors
    /// When the file becomes full. Later calls only count the lines, and succeed.
    pub(super) fn append(&mut self, lines: &str) -> Result<(), AppendError> {
        let count = lines.lines().count() as u64;
        if count == 0 {
            return Ok(());
        }
        if let Some(left_out) = &mut self.left_out {
            *left_out = left_out.saturating_add(count);
            return Ok(());
        }
        let first = self.end == BEGIN.len() as u64;
        let comma = if first { "\n" } else { ",\n" };
        let text = format!("{comma}{}{END}", lines.trim_end().replace('\n', ",\n"));
        if self.end.saturating_add(text.len() as u64) > self.limit {
            self.left_out = Some(count);
            return Err(AppendError::Limit);
        }
        if let Err(error) = self.file.write_all_at(text.as_bytes(), self.end) {
            self.left_out = Some(count);
            // Remove a partial line. Both calls have room: the file was as long before.
            let _ = self.file.set_len(self.end);
            let _ = self.file.write_all_at(END.as_bytes(), self.end);
            return Err(AppendError::Failed(error));
        }
        self.end += (text.len() - END.len()) as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_is_reported_once() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let mut trace = TraceFile::new(open(named.path()).unwrap(), u64::MAX).unwrap();
        trace.append("{}\n").unwrap();
        trace.file = open(Path::new("/dev/full")).unwrap();
        assert!(matches!(trace.append("{}\n{}\n"), Err(AppendError::Failed(_))));
        trace.append("{}\n").unwrap();
        assert_eq!(trace.left_out(), 3);
        assert_eq!(fs::read_to_string(named.path()).unwrap(), "[\n{}\n]\n");
    }
}
