//! The descriptors that were open when lguest was started, besides stdin, stdout and stderr: the lock
//! of a script (`flock 9`), a pipe that somebody reads to its end, a directory. A launcher in the
//! background (`--detach`) must not hold them while its guest runs, and one that drops privileges
//! must not keep what they lead to. `main` notes them before anything is opened. They are closed
//! when all that the command line names is open: `/dev/fd/9` may be among it.

use std::fs;
use std::os::fd::RawFd;
use std::path::Path;

use anyhow::{Context, Result};
use nix::unistd::close;

/// The directory that has a name for each open descriptor.
const OPEN: &str = "/proc/self/fd";

/// Descriptors that are not ours, and are to be closed.
#[derive(Debug, Default)]
pub struct Inherited(Vec<RawFd>);

impl Inherited {
    /// Those that are open now: to be called before we have opened anything.
    ///
    /// # Errors
    /// When the host does not tell.
    pub fn note() -> Result<Self> {
        let names = fs::read_dir(OPEN).context("looking for open files in /proc/self/fd")?;
        let numbers = names.flatten().filter_map(|name| name.file_name().to_str()?.parse().ok());
        let mut open: Vec<_> = numbers.filter(|number| *number > libc::STDERR_FILENO).collect();
        // The directory itself was among them, and is closed by now.
        open.retain(|number| fs::symlink_metadata(format!("{OPEN}/{number}")).is_ok());
        Ok(Self(open))
    }

    /// Close them. What is opened later may have the same numbers: so this is done once.
    pub fn close(&mut self) {
        for number in self.0.drain(..) {
            // None of our values has it: it was open before the first of them was made.
            let _ = close(number);
        }
    }
}

/// Whether a file has its name only as long as a descriptor of this process is open.
pub fn is_named_by_descriptor(path: &Path) -> bool {
    ["/dev/fd", OPEN].iter().any(|directory| path.starts_with(directory))
}
