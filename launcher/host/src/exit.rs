//! The slot in which a thread announces an end, and for which the main thread waits: the end of a
//! guest, or of a client's session at a console. The first end counts, and the main thread waits for
//! nothing else.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Mutex;

use anyhow::{Context, Result};
use devices::mutex::lock;
use vmm_sys_util::eventfd::EventFd;

use crate::sys;

/// An end from outside of the guest that no client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interruption {
    /// The user typed three ^C.
    CtrlC,
    /// A process sent the signal of this number.
    Signal(i32),
    /// The host failed. The text is complete.
    Failed(String),
}

/// An end of a guest, or of a client's session.
pub trait End: From<Interruption> + Send + 'static {
    /// Whether a later end takes the place of this one, if it has not been taken yet.
    fn is_replaceable(&self) -> bool {
        false
    }
}

/// The slot in which threads announce an end, and for which the main thread waits.
#[derive(Debug)]
pub struct Exit<T> {
    event: EventFd,
    end: Mutex<Option<T>>,
}

impl<T: End> Exit<T> {
    /// Announce an end. The first counts, unless it [is replaceable](End::is_replaceable).
    pub fn end(&self, end: T) {
        let mut slot = lock(&self.end);
        if slot.as_ref().is_none_or(T::is_replaceable) {
            *slot = Some(end);
            self.wake();
        }
    }
}

impl<T> Exit<T> {
    /// Create the slot, in which no end has been announced.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn new() -> Result<Self> {
        let event = EventFd::new(libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)
            .context("creating the exit event")?;
        Ok(Self { event, end: Mutex::new(None) })
    }

    /// Wake up the main thread without an end, for other work.
    pub fn wake(&self) {
        // Cannot fail: the counter is far from its limit.
        let _ = self.event.write(1);
    }

    /// Whether an end was announced and not taken.
    pub fn is_announced(&self) -> bool {
        lock(&self.end).is_some()
    }

    /// Take the end, if one was announced. The slot is empty for the next guest.
    pub fn take(&self) -> Option<T> {
        let mut slot = lock(&self.end);
        let _ = self.event.read();
        slot.take()
    }

    /// Whether the main thread was woken up since the last call. For tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn was_woken(&self) -> bool {
        self.event.read().is_ok()
    }
}

impl<T> AsFd for Exit<T> {
    /// Readable while an end waits to be taken, and after [`Exit::wake`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        sys::borrow_fd(self, self.event.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum TestEnd {
        Reset,
        Off,
        Killed,
    }

    impl From<Interruption> for TestEnd {
        fn from(_: Interruption) -> Self {
            Self::Killed
        }
    }

    impl End for TestEnd {
        fn is_replaceable(&self) -> bool {
            *self == Self::Reset
        }
    }

    #[test]
    fn the_first_end_counts() {
        let exit = Exit::new().unwrap();
        exit.end(TestEnd::Off);
        exit.end(TestEnd::Killed);
        assert_eq!(exit.take(), Some(TestEnd::Off));
        assert_eq!(exit.take(), None);
    }

    #[test]
    fn a_reset_does_not_keep_a_client_from_ending_the_guest() {
        let exit = Exit::new().unwrap();
        exit.end(TestEnd::Reset);
        exit.end(TestEnd::Killed);
        exit.end(TestEnd::Reset);
        assert_eq!(exit.take(), Some(TestEnd::Killed));
        assert_eq!(exit.take(), None);
    }
}
