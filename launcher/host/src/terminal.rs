//! The user's terminal: raw while the guest has it, and restored exactly on
//! every way out. The terminal becomes raw when the guest is about to run;
//! [`crate::signals`] restores it around a stop. The state is in [`tty`].
//! [`guard`] restores the terminal after a SIGKILL of the launcher.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic;
use std::sync::{Arc, Mutex, Weak};

use anyhow::{Context, Result};
use devices::mutex::lock;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

#[expect(unsafe_code, reason = "FFI of terminals and signals")]
pub mod sys;

mod guard;
mod questions;
mod tty;

#[cfg(test)]
mod tests;

use crate::privilege::PrivilegeDrop;
pub(crate) use questions::QuestionFinder;
pub use questions::{is_complete, question};
pub use tty::Tty;
pub(crate) use tty::waited_in_background;

/// The terminal on stdin. Dropping it restores the terminal for good.
#[derive(Debug)]
pub struct Terminal(Arc<Tty>);

/// The message of a launcher in the background, which explains why the guest gets no keys.
pub const BACKGROUND: &str = "in the background: the guest gets no keys until this is \
     the terminal's foreground job (fg; with timeout: timeout --foreground)";

/// The terminal that the panic hook restores.
static ENTERED: Mutex<Weak<Tty>> = Mutex::new(Weak::new());

impl Terminal {
    /// The user's terminal. `None` if stdin is not a terminal. Does not change the terminal. To be
    /// called before any thread exists, because it forks the guard, which drops
    /// these privileges at once.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn on_stdin(privileges: &PrivilegeDrop) -> Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        // A file description of our own: it stays open when stdin is closed, and
        // no other process shares its O_NONBLOCK (a serial line would wait for a
        // carrier). A terminal of another user (su) can only be duplicated.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let own = match open("/proc/self/fd/0", flags, Mode::empty()) {
            Ok(own) => own,
            Err(_) => stdin.as_fd().try_clone_to_owned().context("duplicating stdin")?,
        };
        let tty = Arc::new(Tty::new(own, privileges).context("preparing the terminal")?);
        *lock(&ENTERED) = Arc::downgrade(&tty);
        Ok(Some(Self(tty)))
    }

    /// Save the terminal's modes and make it raw; after a stop, save them anew. In
    /// the background, do nothing and return false: the stdin
    /// thread makes the terminal raw as soon as lguest comes to the foreground.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn enter(&self) -> Result<bool> {
        self.0.enter().context("making the terminal raw")
    }

    /// Restore the modes that [`Self::enter`] saved. A second call does nothing.
    pub(crate) fn leave(&self) {
        self.0.leave();
    }

    /// After the guest's end, read nothing from the terminal but its answers to open questions.
    pub fn read_answers_only(&self) {
        self.0.questions().close();
    }

    /// After the guest's end, wait a moment for the terminal's answers to open questions, and drop
    /// them.
    pub(crate) fn await_answers(&self) {
        self.0.await_answers();
    }

    /// A finder of questions in the output to this file. `None` if the file is not this terminal.
    pub(crate) fn question_finder(&self, file: BorrowedFd<'_>) -> Option<QuestionFinder> {
        self.0.is_terminal_of(file).then(|| QuestionFinder::new(self.0.questions()))
    }

    /// The state of the terminal, for the stdin thread.
    pub fn tty(&self) -> Arc<Tty> {
        Arc::clone(&self.0)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// The columns and rows of the terminal on stdin, or else of the one on stdout. `None` if neither
/// is a terminal, or the size is not known.
pub fn size() -> Option<(u16, u16)> {
    let of = |fd: BorrowedFd<'_>| sys::window_size(fd);
    of(io::stdin().as_fd()).or_else(|| of(io::stdout().as_fd()))
}

/// Have a panic in any thread restore the terminal before it prints, and for
/// good: a launcher that panicked is about to end.
pub fn install_panic_hook() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let tty = lock(&ENTERED).upgrade();
        if let Some(tty) = tty {
            tty.finish_in_panic();
        }
        print(info);
    }));
}
