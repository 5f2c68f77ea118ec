//! Signals, and the call in which the main thread sleeps. Signals are blocked in all
//! threads and read from a descriptor, so that none arrives at a
//! bad time. The main thread blocks them first and then waits here for
//! the guest's end, which [`crate::exit`] announces.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::exit::{End, Exit, Interruption};
use crate::terminal::{Terminal, sys};

#[cfg(test)]
mod tests;

/// The signals to which a launcher reacts, blocked and read from a descriptor.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

/// The event that ended a sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The descriptor that was waited for is readable.
    Ready,
    /// A signal arrived.
    Signal(Signal),
    /// The time is over.
    TimedOut,
}

impl Signals {
    /// Block the signals. To be called before any thread exists: threads inherit the mask.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn block() -> Result<Self> {
        // A closed pipe and a full file are errors of the write, not signals.
        for signal in [Signal::SIGPIPE, Signal::SIGXFSZ] {
            sys::ignore(signal).with_context(|| format!("ignoring {signal}"))?;
        }
        let mut wanted = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGCONT, Signal::SIGWINCH] {
            wanted.add(signal);
        }
        // nohup and shells without job control ignore signals on purpose. A signal
        // that is blocked would still be read.
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP] {
            if !sys::is_ignored(signal) {
                wanted.add(signal);
            }
        }
        let mut blocked = wanted;
        // If these two are blocked, the kernel does not send them: a read of the terminal
        // from the background fails instead, and a write succeeds.
        blocked.add(Signal::SIGTTIN);
        blocked.add(Signal::SIGTTOU);
        blocked.thread_block().context("blocking signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&wanted, flags).context("creating the signal descriptor")?;
        Ok(Self { fd })
    }

    /// Sleep until an end is announced or a signal ends lguest. `None` if `until` comes
    /// first. Stops and continues the launcher as the user's shell asks, with the
    /// terminal restored in between. `look` is called before each sleep, because the window may
    /// have changed, or a thread has called [`Exit::wake`].
    pub fn wait<T: End>(
        &self,
        exit: &Exit<T>,
        terminal: Option<&Terminal>,
        until: Option<Instant>,
        mut look: impl FnMut(),
    ) -> Option<T> {
        loop {
            look();
            let end = match self.sleep(exit.as_fd(), until) {
                Ok(Wake::Ready) => exit.take(),
                Ok(Wake::Signal(signal)) => self.obey(signal, terminal).map(T::from),
                Ok(Wake::TimedOut) => return None,
                Err(e) => {
                    let why = format!("waiting for the guest's end: {e}");
                    Some(Interruption::Failed(why).into())
                }
            };
            if end.is_some() {
                return end;
            }
        }
    }

    fn obey(&self, signal: Signal, terminal: Option<&Terminal>) -> Option<Interruption> {
        match signal {
            Signal::SIGTSTP => self.stop(terminal),
            Signal::SIGCONT => resume(terminal),
            Signal::SIGWINCH => {}
            other => return Some(Interruption::Signal(other as i32)),
        }
        None
    }

    /// Sleep until `other` is readable, a signal arrives, or `until` comes.
    ///
    /// # Errors
    /// When the host fails to read the signal or to poll.
    pub(crate) fn sleep(&self, other: BorrowedFd<'_>, until: Option<Instant>) -> io::Result<Wake> {
        loop {
            if let Some(info) = self.fd.read_signal()? {
                let number = i32::try_from(info.ssi_signo).map_err(io::Error::other)?;
                return Ok(Wake::Signal(Signal::try_from(number)?));
            }
            let timeout = match until {
                None => PollTimeout::NONE,
                Some(until) => match until.checked_duration_since(Instant::now()) {
                    Some(left) => round_up(left),
                    None => return Ok(Wake::TimedOut),
                },
            };
            let mut fds = [
                PollFd::new(self.fd.as_fd(), PollFlags::POLLIN),
                PollFd::new(other, PollFlags::POLLIN),
            ];
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
            if fds[1].any() == Some(true) && fds[0].any() != Some(true) {
                return Ok(Wake::Ready);
            }
        }
    }

    /// Stop as SIGTSTP does: not if no process could continue lguest (no job control).
    /// The terminal is restored meanwhile.
    pub(crate) fn stop(&self, terminal: Option<&Terminal>) {
        if let Some(terminal) = terminal {
            terminal.leave();
        }
        let stop = SigSet::from(Signal::SIGTSTP);
        let _ = raise(Signal::SIGTSTP);
        // Here all threads stop, until SIGCONT.
        let _ = stop.thread_unblock();
        let _ = stop.thread_block();
        resume(terminal);
    }
}

/// Enter the terminal again after a stop by any signal: its modes may have changed meanwhile.
fn resume(terminal: Option<&Terminal>) {
    if let Some(terminal) = terminal
        && let Err(e) = terminal.enter()
    {
        // If the terminal is gone, the stdin thread detects that and ends the guest.
        log::debug!("{e:#}");
    }
}

/// A timeout of at least `time`, in whole milliseconds. One of over 24 days is cut to that.
fn round_up(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX)
}
