//! Writes the output of a console to a file: stdout, or one that
//! the user named. A thread reads [`crate::output`] and blocks in write(2). At the end,
//! [`last_words`] waits for the thread, and the thread restores the terminal's screen.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use devices::log_interval::LogInterval;
use devices::threads;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::write;

use crate::output::{OutputRing, Reader, ReaderRole};
use crate::signals::{Signals, Wake};
use crate::terminal::Terminal;

pub mod last_words;
mod screen;

#[cfg(test)]
mod tests;

pub use screen::Screen;

/// The thread that writes the output of a console to a file, "stdout" or "con1-file".
#[derive(Debug)]
pub struct OutputWriter {
    output: OutputRing,
    /// The number of the thread's reader.
    reader: u64,
    /// The name of the file in messages.
    what: String,
}

impl OutputWriter {
    /// Start writing the output to stdout. If stdout is the user's terminal, the guest's questions
    /// to it are recorded.
    ///
    /// # Errors
    /// When the host has no descriptor or thread to spare.
    pub fn to_stdout(output: &OutputRing, terminal: Option<&Terminal>) -> Result<Self> {
        let file = io::stdout().as_fd().try_clone_to_owned().context("duplicating stdout")?;
        let screen = Screen::of(file.as_fd(), terminal);
        Self::start(output, ReaderRole::Writer, file, screen, ["stdout".into(), "stdout".into()])
    }

    /// Start writing the output to a file, in the thread `name`. The file is the console's host end
    /// ([`ReaderRole::Writer`]), or an addition to it ([`ReaderRole::Witness`]).
    ///
    /// # Errors
    /// When the host has no thread to spare.
    pub fn to_file(
        output: &OutputRing,
        role: ReaderRole,
        file: impl Into<OwnedFd>,
        name: String,
        path: &Path,
    ) -> Result<Self> {
        let file = file.into();
        let screen = Screen::of(file.as_fd(), None);
        Self::start(output, role, file, screen, [name, path.display().to_string()])
    }

    /// A handle of another thread that reads the output, to wait for its reader `id` at the end.
    pub fn beside(output: &OutputRing, id: u64, what: &str) -> Self {
        Self { output: output.clone(), reader: id, what: what.into() }
    }

    fn start(
        output: &OutputRing,
        role: ReaderRole,
        file: OwnedFd,
        screen: Option<Screen>,
        [name, what]: [String; 2],
    ) -> Result<Self> {
        let reader = output.reader(role);
        let id = reader.id();
        let mut body = WriterThread { reader, file, screen, what: what.clone() };
        threads::start(name, move || body.write_out())
            .with_context(|| format!("starting the thread that writes to {what}"))?;
        Ok(Self { output: output.clone(), reader: id, what })
    }

    /// Wait until all output is written, for `bound` at most. To be called when
    /// the queue threads have ended: with a bound before the terminal is left,
    /// so that it gets the last bytes raw; then without a bound, once ^C is a signal
    /// again. A signal ends the wait, and its number is returned. The thread restores the
    /// terminal's screen last.
    pub(crate) fn finish(&self, signals: &Signals, bound: Option<Duration>) -> Option<i32> {
        let until = bound.and_then(|bound| Instant::now().checked_add(bound));
        self.output.finish();
        while !self.output.is_left() {
            match signals.sleep(self.output.left(), until) {
                Ok(Wake::Ready) => self.output.rearm(),
                Ok(Wake::Signal(Signal::SIGTSTP)) => signals.stop(None),
                Ok(Wake::Signal(Signal::SIGCONT | Signal::SIGWINCH)) => {}
                Ok(Wake::Signal(signal)) => return Some(signal as i32),
                Ok(Wake::TimedOut) | Err(_) => return None,
            }
        }
        None
    }
}

impl Drop for OutputWriter {
    /// Report the bytes that were lost. The thread may be blocked for ever, and is not joined:
    /// the process is about to end.
    fn drop(&mut self) {
        say_lost(self.output.take_unread(self.reader), &self.what);
    }
}

fn say_lost(bytes: u64, what: &str) {
    if bytes > 0 {
        log::warn!("{bytes} bytes of the guest's output are lost: nobody read {what}");
    }
}

/// The state of the thread.
struct WriterThread {
    reader: Reader,
    file: OwnedFd,
    what: String,
    /// The settings of the terminal, if the file is one.
    screen: Option<Screen>,
}

impl WriterThread {
    /// Write all output, until the file can never be written again: the body of the thread.
    fn write_out(&mut self) {
        let (mut chunk, mut failing, mut interval) = (Vec::new(), None, LogInterval::default());
        while self.reader.take(&mut chunk) {
            match self.write_all(&chunk) {
                Ok(()) => failing = None,
                // The guest continues without this reader.
                Err(error @ (Errno::EPIPE | Errno::EIO)) => {
                    let error = io::Error::from(error);
                    let what = &self.what;
                    return log::warn!("writing to {what}: {error}: further output is lost");
                }
                // A full disk may have room later, and be full once more.
                Err(error) if failing.replace(error) == Some(error) => {}
                Err(error) if interval.is_due(Instant::now()) => {
                    let (what, error) = (&self.what, io::Error::from(error));
                    log::warn!("writing to {what}: {error}: output is lost");
                }
                Err(_) => {}
            }
        }
        let undo = self.screen.as_mut().map(Screen::undo).unwrap_or_default();
        // Fails if the terminal was closed.
        let _ = self.write_all(&undo);
    }

    fn write_all(&mut self, chunk: &[u8]) -> Result<(), Errno> {
        let mut rest = chunk;
        while !rest.is_empty() {
            match write_some(self.file.as_fd(), rest) {
                Ok(written) => {
                    let (done, left) = rest.split_at_checked(written).unwrap_or((rest, &[]));
                    rest = left;
                    self.screen.iter_mut().for_each(|screen| screen.watch(done));
                    say_lost(self.reader.progress(), &self.what);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Write the first of these bytes, and wait if the file takes none now. Returns the number of bytes
/// written.
///
/// # Errors
/// When write(2) fails for another reason.
pub fn write_some(file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match write(file, bytes) {
            Err(Errno::EINTR) => {}
            // lguest may inherit a non-blocking stdout. Making it blocking would
            // change it for the other process, too.
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(file, PollFlags::POLLOUT)];
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
            done => return done,
        }
    }
}
