//! What the guest prints on a console, on its way to a file: stdout, or one that
//! the user named. A thread reads [`crate::output`] and blocks in write(2). Only it
//! knows whether anybody reads. At the end, [`last_words`] waits for it, and it
//! gives back the terminal's screen.

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

use crate::output::{Output, Reader, ReaderRole};
use crate::signals::{Signals, Wake};
use crate::terminal::Terminal;

pub mod last_words;
mod screen;

#[cfg(test)]
mod tests;

pub use screen::Screen;

/// The thread that writes, "stdout" or "con1-file".
#[derive(Debug)]
pub struct OutputWriter {
    output: Output,
    /// Its reader.
    reader: u64,
    /// What it writes to, as the user knows it.
    what: String,
}

impl OutputWriter {
    /// Start writing what is printed to stdout. The user's terminal, if that is one, answers
    /// what it is asked there.
    ///
    /// # Errors
    /// When the host has no descriptor or thread to spare.
    pub fn to_stdout(output: &Output, terminal: Option<&Terminal>) -> Result<Self> {
        let file = io::stdout().as_fd().try_clone_to_owned().context("duplicating stdout")?;
        let screen = Screen::of(file.as_fd(), terminal);
        Self::start(output, ReaderRole::Writer, file, screen, ["stdout".into(), "stdout".into()])
    }

    /// Start writing what is printed to a file, in the thread `name`: as what is at the
    /// console's host end, or beside that ([`ReaderRole::Witness`]).
    ///
    /// # Errors
    /// When the host has no thread to spare.
    pub fn to_file(
        output: &Output,
        role: ReaderRole,
        file: impl Into<OwnedFd>,
        name: String,
        path: &Path,
    ) -> Result<Self> {
        let file = file.into();
        let screen = Screen::of(file.as_fd(), None);
        Self::start(output, role, file, screen, [name, path.display().to_string()])
    }

    /// To wait for this reader of the output, that somebody else has started.
    pub fn beside(output: &Output, id: u64, what: &str) -> Self {
        Self { output: output.clone(), reader: id, what: what.into() }
    }

    fn start(
        output: &Output,
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

    /// Wait until all output is written, at most for `bound`. To be called when
    /// the queue threads have ended: with a bound before the terminal is left,
    /// so that it gets the last bytes raw; then, with none, once ^C is a signal
    /// again. That signal or another one ends the wait: its number is returned.
    /// Last of all, the terminal's screen is given back.
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
    /// Say what was lost. The writer may be blocked for ever and is left alone:
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

/// What the thread has.
struct WriterThread {
    reader: Reader,
    file: OwnedFd,
    what: String,
    /// What has been set on the terminal, if stdout is one.
    screen: Option<Screen>,
}

impl WriterThread {
    /// Write out all output, unless nobody can read it any more.
    fn write_out(&mut self) {
        let (mut chunk, mut failing, mut interval) = (Vec::new(), None, LogInterval::default());
        while self.reader.take(&mut chunk) {
            match self.write_all(&chunk) {
                Ok(()) => failing = None,
                // The guest goes on without.
                Err(error @ (Errno::EPIPE | Errno::EIO)) => {
                    let error = io::Error::from(error);
                    let what = &self.what;
                    return log::warn!("writing to {what}: {error}: further output is lost");
                }
                // A full disk may get room again, and be full once more.
                Err(error) if failing.replace(error) == Some(error) => {}
                Err(error) if interval.is_due(Instant::now()) => {
                    let (what, error) = (&self.what, io::Error::from(error));
                    log::warn!("writing to {what}: {error}: output is lost");
                }
                Err(_) => {}
            }
        }
        let undo = self.screen.as_mut().map(Screen::undo).unwrap_or_default();
        // A terminal that was closed does not need it.
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

/// Write the beginning of these bytes, and wait for the reader if need be. Returns how many.
pub fn write_some(file: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match write(file, bytes) {
            Err(Errno::EINTR) => {}
            // Somebody handed us a non-blocking stdout. Making it blocking would
            // change it for them, too.
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(file, PollFlags::POLLOUT)];
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
            done => return done,
        }
    }
}
