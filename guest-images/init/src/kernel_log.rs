//! Reads what the kernel has logged so far, to report why something failed.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// The longest record.
const LONGEST: usize = 8192;

/// Returns the first line of each record that the kernel still has, the oldest first.
pub(crate) fn lines() -> Vec<String> {
    let log = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let Ok(mut log) = log else { return Vec::new() };
    let (mut record, mut lines) = (vec![0; LONGEST], Vec::new());
    // Each read returns one record: PRIORITY,NUMBER,TIME,FLAGS;TEXT, and lines with details.
    while let Ok(length @ 1..) = log.read(&mut record) {
        let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default()).into_owned();
        let line = text.split_once(';').and_then(|(_, text)| text.lines().next());
        lines.extend(line.map(str::to_string));
    }
    lines
}
