//! Signals, and the main thread's only sleeping place. They are blocked in all
//! threads and read from a descriptor, so that none interrupts anything at a
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

use crate::exit::{Exit, Interruption};
use crate::terminal::{Terminal, sys};

#[cfg(test)]
mod tests;

/// The signals that mean something to a launcher.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

/// What ended a sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The descriptor that was waited for is readable.
    Ready,
    /// This signal arrived.
    Signal(Signal),
    /// Nothing happened in time.
    TimedOut,
}

impl Signals {
    /// Block them. To be called before any thread exists: threads inherit it.
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
        // nohup and shells without job control mean what they say. Blocked, the
        // signal would reach us all the same.
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP] {
            if !sys::is_ignored(signal) {
                wanted.add(signal);
            }
        }
        let mut blocked = wanted;
        // Blocked, these two do not even arise: a read of the terminal from the
        // background fails instead, a write goes through.
        blocked.add(Signal::SIGTTIN);
        blocked.add(Signal::SIGTTOU);
        blocked.thread_block().context("blocking signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&wanted, flags).context("creating the signal descriptor")?;
        Ok(Self { fd })
    }

    /// Sleep until the guest ends or a signal ends us; none if it is late before
    /// that. Stops and continues the launcher as the user's shell asks, with the
    /// terminal given back between. `look` is called before each sleep: what it looks
    /// at may have changed, be it the window or what [`Exit::wake`] was called for.
    pub fn wait<T: From<Interruption>>(
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

    /// Sleep until `other` is readable, a signal arrives, or it is late.
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

    /// Stop as SIGTSTP does: not if nobody could continue us (no job control).
    /// The terminal is given back meanwhile.
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

/// We were stopped, by whatever signal: what the terminal was like before says
/// nothing about now.
fn resume(terminal: Option<&Terminal>) {
    if let Some(terminal) = terminal
        && let Err(e) = terminal.enter()
    {
        // If it is gone, the stdin thread notices and ends the guest.
        log::debug!("{e:#}");
    }
}

/// At least `time`, in whole milliseconds.
fn round_up(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX)
}
