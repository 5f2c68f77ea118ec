//! The descriptors that were open when lguest was started, besides stdin, stdout and stderr: the
//! lock of a script (`flock 9`), a pipe that another process reads to its end, a directory. A
//! launcher in the background (`--detach`) must not hold them while its guest runs, and one that
//! drops privileges must not keep the files behind them. `main` lists them before it opens
//! anything. They are closed when all files of the command line are open: `/dev/fd/9` may be among
//! those.

use std::fs;
use std::os::fd::RawFd;
use std::path::Path;

use anyhow::{Context, Result};
use nix::unistd::close;

/// The directory with a name for each open descriptor.
const OPEN: &str = "/proc/self/fd";

/// The descriptors that lguest inherited and has to close.
#[derive(Debug, Default)]
pub struct Inherited(Vec<RawFd>);

impl Inherited {
    /// List the descriptors that are open now. To be called before lguest opens anything.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn note() -> Result<Self> {
        let names = fs::read_dir(OPEN).context("looking for open files in /proc/self/fd")?;
        let numbers = names.flatten().filter_map(|name| name.file_name().to_str()?.parse().ok());
        let mut open: Vec<_> = numbers.filter(|number| *number > libc::STDERR_FILENO).collect();
        // The directory itself was among them, and is closed by now.
        open.retain(|number| fs::symlink_metadata(format!("{OPEN}/{number}")).is_ok());
        Ok(Self(open))
    }

    /// Close the inherited descriptors. A later call does nothing: descriptors that lguest opened
    /// since may have the same numbers.
    pub fn close(&mut self) {
        for number in self.0.drain(..) {
            // No value of lguest owns it: the descriptor was open before the first of them was
            // made.
            let _ = close(number);
        }
    }
}

/// Whether this path names an open descriptor of this process (`/dev/fd/9`).
pub fn is_named_by_descriptor(path: &Path) -> bool {
    ["/dev/fd", OPEN].iter().any(|directory| path.starts_with(directory))
}
