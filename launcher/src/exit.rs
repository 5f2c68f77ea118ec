//! The one way in which a guest ends: whoever notices says why, the first
//! reason stands, and the main thread, which waits for nothing else, wakes up.

mod status;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use vmm_sys_util::eventfd::EventFd;

use crate::sys;
pub(crate) use status::Status;

/// Why a guest ended, or a stay at one of its consoles did.
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
    /// The guest's kernel panicked: it told by pvpanic, or in these words on its console.
    Panicked(Option<String>),
    /// The guest cannot go on: triple fault, KVM internal error.
    Crashed(Crash),
    /// Of a boot test ([`crate::trial`]): what was waited for has been seen. The text says
    /// what, here and in the next three.
    Seen(String),
    /// The same: something that was not to be printed was.
    Unwanted(String),
    /// The same: the guest ended before that.
    Unseen(String),
    /// It was not over in time.
    TimedOut(String),
    /// The host or the launcher failed. The text says all.
    Failed(String),
    /// Three ^C on the terminal.
    Interrupted,
    /// `lguest stop`.
    Stopped,
    /// `lguest kill`.
    Killed,
    /// This signal was sent to the launcher.
    Signal(i32),
    /// Of a stay at a console (`lguest console`): the user has left it.
    Detached,
    /// The same: the guest's launcher ended it, with this status, and said why.
    SentAway(u8, String),
}

/// How a guest crashed. [`crate::crash`] writes the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The reason and a few lines of detail.
    pub(crate) text: String,
    /// KVM could not go on; another host's might have.
    pub(crate) by_kvm: bool,
}

impl Ending {
    /// The launcher's exit status.
    pub(crate) fn status(&self) -> u8 {
        let status = match self {
            Self::PoweredOff | Self::Reset(_) | Self::Seen(_) | Self::Stopped | Self::Detached => {
                Status::WELL
            }
            Self::Status(number) | Self::Exited(number) | Self::SentAway(number, _) => {
                Status::told(*number)
            }
            Self::Failed(_) => Status::FAILED,
            Self::Panicked(_) => Status::PANICKED,
            Self::Crashed(_) => Status::CRASHED,
            Self::Unwanted(_) => Status::UNWANTED,
            Self::Unseen(_) => Status::UNSEEN,
            Self::TimedOut(_) => Status::LATE,
            Self::Interrupted => Status::INTERRUPTED,
            Self::Killed => Status::KILLED,
            Self::Signal(number) => Status::of_signal(*number),
        };
        status.number()
    }

    /// What those are told who look on from elsewhere.
    pub(crate) fn farewell(&self) -> String {
        self.text().unwrap_or_else(|| match self {
            Self::Exited(status) => format!("its command has ended with status {status}"),
            _ => "guest powered off".to_string(),
        })
    }

    /// What the user is told of it, if it needs words.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::PoweredOff | Self::Status(_) | Self::Exited(_) => None,
            Self::Reset(how) => Some(format!("guest reset by {how}; not started again")),
            Self::Panicked(None) => Some("guest panicked".to_string()),
            Self::Panicked(Some(words)) => Some(format!("guest panicked: {words}")),
            Self::Crashed(crash) => Some(format!("guest crashed: {}", crash.text)),
            Self::Seen(why)
            | Self::Unwanted(why)
            | Self::Unseen(why)
            | Self::TimedOut(why)
            | Self::Failed(why) => Some(why.clone()),
            Self::Interrupted => Some("three ^C: guest stopped".to_string()),
            Self::Stopped => Some("stopped by `lguest stop`".to_string()),
            Self::Killed => Some("killed by `lguest kill`".to_string()),
            Self::Signal(number) => Some(format!("signal {number}: guest stopped")),
            Self::Detached => Some("left the console; the guest goes on".to_string()),
            Self::SentAway(_, why) => Some(why.clone()),
        }
    }
}

/// Where endings are announced and waited for.
#[derive(Debug)]
pub(crate) struct Exit {
    event: EventFd,
    ending: Mutex<Option<Ending>>,
}

impl Exit {
    pub(crate) fn new() -> Result<Self> {
        let event = EventFd::new(libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)
            .context("creating the exit event")?;
        Ok(Self { event, ending: Mutex::new(None) })
    }

    /// Announce an ending. Only the first counts; but a reset, after which the guest
    /// may go on, does not keep it from being ended.
    pub(crate) fn end(&self, ending: Ending) {
        let mut slot = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*slot, None | Some(Ending::Reset(_))) {
            *slot = Some(ending);
            self.wake();
        }
    }

    /// Wake up the main thread, whose waiting is interrupted by this, for something
    /// else than an ending.
    pub(crate) fn wake(&self) {
        // Cannot fail: the counter is far from its limit.
        let _ = self.event.write(1);
    }

    /// The ending, once there is one; the next guest starts with none.
    pub(crate) fn take(&self) -> Option<Ending> {
        let mut slot = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.event.read();
        slot.take()
    }
}

impl AsFd for Exit {
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
