//! The one way in which a guest ends: the thread that notices says why, the first
//! reason counts, and the main thread, which waits for nothing else, wakes up.
//! What that makes of the launch is a `launch::Outcome`.

mod status;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use vmm_sys_util::eventfd::EventFd;

use crate::sys;
pub(crate) use status::Status;

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The guest switched itself off.
    PoweredOff,
    /// The guest asked for a reset; says by which means.
    Reset(&'static str),
    /// The guest wrote this byte to port 0x501.
    Status(u8),
    /// The command that the guest was to run has ended with this status (`--exec`).
    Exited(u8),
    /// The guest's kernel panicked, which pvpanic reports.
    Panicked,
    /// The guest cannot go on: triple fault, KVM internal error.
    Crashed(Crash),
    /// The host or the launcher failed. The text says all.
    Failed(String),
    /// A boot test ended it; [`crate::trial`] has the verdict.
    Decided,
    /// Three ^C on the terminal.
    Interrupted,
    /// `lguest stop`.
    Stopped,
    /// `lguest kill`.
    Killed,
    /// This signal was sent to the launcher.
    Signal(i32),
}

impl Ending {
    /// Whether the guest has done well, as far as its end says.
    pub(crate) fn is_good(&self) -> bool {
        matches!(
            self,
            Self::PoweredOff | Self::Reset(_) | Self::Stopped | Self::Status(0) | Self::Exited(0)
        )
    }
}

/// What ends a launcher, or its client, that nobody announced.
#[derive(Debug)]
pub(crate) enum Interruption {
    /// This signal was sent to it.
    Signal(i32),
    /// The host failed. The text says all.
    Failed(String),
}

impl From<Interruption> for Ending {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::Signal(number) => Self::Signal(number),
            Interruption::Failed(why) => Self::Failed(why),
        }
    }
}

/// How a guest crashed. [`crate::crash`] writes the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The reason and a few lines of detail.
    pub(crate) text: String,
    /// KVM could not go on; another host's might have.
    pub(crate) by_kvm: bool,
}

/// Where an end is announced and waited for: a guest's, or that of a client's stay at its console.
#[derive(Debug)]
pub(crate) struct Exit<T = Ending> {
    event: EventFd,
    end: Mutex<Option<T>>,
}

impl<T> Exit<T> {
    pub(crate) fn new() -> Result<Self> {
        let event = EventFd::new(libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)
            .context("creating the exit event")?;
        Ok(Self { event, end: Mutex::new(None) })
    }

    /// Announce an end. Only the first counts.
    pub(crate) fn end_once(&self, end: T) {
        self.announce(end, |_| false);
    }

    /// Announce an end, which takes the place of one that `gives_way` to it.
    fn announce(&self, end: T, gives_way: impl Fn(&T) -> bool) {
        let mut slot = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_none_or(gives_way) {
            *slot = Some(end);
            self.wake();
        }
    }

    /// Wake up the main thread, whose waiting is interrupted by this, for something
    /// else than an end.
    pub(crate) fn wake(&self) {
        // Cannot fail: the counter is far from its limit.
        let _ = self.event.write(1);
    }

    /// The end, once there is one; the next guest starts with none.
    pub(crate) fn take(&self) -> Option<T> {
        let mut slot = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.event.read();
        slot.take()
    }
}

impl Exit {
    /// Announce how the guest ended. Only the first end counts; but a reset, after which the
    /// guest may go on, does not keep it from being ended.
    pub(crate) fn end(&self, ending: Ending) {
        self.announce(ending, |before| matches!(before, Ending::Reset(_)));
    }
}

impl<T> AsFd for Exit<T> {
    /// Readable while an ending waits to be taken, or somebody was to be woken up.
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow_fd(self, self.event.as_raw_fd())
    }
}

#[cfg(test)]
impl Exit {
    /// Whether somebody wanted the main thread's attention since this was asked.
    pub(crate) fn was_woken(&self) -> bool {
        self.event.read().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ending_stands() {
        let exit = Exit::new().unwrap();
        exit.end(Ending::PoweredOff);
        exit.end(Ending::Interrupted);
        assert_eq!(exit.take(), Some(Ending::PoweredOff));
        assert_eq!(exit.take(), None);
    }

    #[test]
    fn a_reset_keeps_nobody_from_ending_the_guest() {
        let exit = Exit::new().unwrap();
        exit.end(Ending::Reset("its own wish"));
        exit.end(Ending::Stopped);
        exit.end(Ending::Reset("its own wish"));
        assert_eq!(exit.take(), Some(Ending::Stopped));
        assert_eq!(exit.take(), None);
    }
}
