//! The state of the user's terminal. Several threads share it: main
//! enters and leaves ([`super::Terminal`], [`crate::signals`]), the stdin
//! thread asks whether it may read ([`crate::stdin`]), the panic hook restores
//! the terminal. If none of them can, [`super::guard`] does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, TryLockError};
use std::thread::sleep;
use std::time::Duration;

use devices::mutex::{lock, wait, wait_timeout};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::{getpgrp, getpid, tcgetpgrp};

use super::guard::{self, Guard};
use super::questions::Questions;
use super::sys::{self, Modes};
use crate::privilege::PrivilegeDrop;

/// How often a launcher in the background checks whether it still is. bash's
/// `fg` sends no signal to a job that runs.
const LOOK: Duration = Duration::from_millis(250);

/// The terminal, for the threads that read it and write to it.
#[derive(Debug)]
pub struct Tty {
    /// A descriptor of our own, which stays open if stdin is closed.
    fd: OwnedFd,
    state: Mutex<State>,
    changed: Condvar,
    /// An eventfd that is readable while the terminal is not ours.
    away: EventFd,
    questions: Arc<Questions>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    guard: Option<Guard>,
}

/// Which process has the terminal.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The terminal is not ours until [`Tty::enter`]: it is unchanged, or restored.
    Left,
    /// The terminal is ours. `saved` are the modes to restore, `raw` the modes that we set.
    Ours { saved: Modes, raw: Modes },
    /// lguest is in the background. The terminal becomes ours as soon as that changes.
    Background,
    /// The terminal was restored for good.
    Over,
}

impl Tty {
    pub(super) fn new(fd: OwnedFd, privileges: &PrivilegeDrop) -> io::Result<Self> {
        let guard = Guard::start(fd.as_fd(), privileges)
            .inspect_err(|e| log::warn!("starting the guard of the terminal: {e}"));
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let away = EventFd::from_value_and_flags(1, flags)?;
        let state = Mutex::new(State { phase: Phase::Left, guard: guard.ok() });
        Ok(Self { fd, state, changed: Condvar::new(), away, questions: Arc::default() })
    }

    /// Save the modes and make the terminal raw, see [`super::Terminal::enter`].
    pub(super) fn enter(&self) -> io::Result<bool> {
        self.enter_locked(&mut self.lock())
    }

    fn enter_locked(&self, state: &mut State) -> io::Result<bool> {
        if matches!(state.phase, Phase::Over) {
            return Ok(false);
        }
        if !self.in_foreground() {
            self.give_back(state);
            state.phase = Phase::Background;
            self.changed.notify_all();
            return Ok(false);
        }
        let saved = sys::modes(self.fd.as_fd())?;
        if let Phase::Ours { raw, .. } = state.phase
            && guard::same(&saved, &raw)
        {
            return Ok(true);
        }
        let mut raw = sys::raw(&saved);
        state.guard.iter_mut().for_each(|guard| guard.watch(&saved, &raw));
        sys::set_modes(self.fd.as_fd(), &raw)?;
        // A driver may refuse some bits. The guard compares with the bits that it accepted.
        let taken = sys::modes(self.fd.as_fd())?;
        if !guard::same(&taken, &raw) {
            raw = taken;
            state.guard.iter_mut().for_each(|guard| guard.watch(&saved, &raw));
        }
        state.phase = Phase::Ours { saved, raw };
        // Fails only if the event is not readable.
        let _ = self.away.read();
        self.changed.notify_all();
        Ok(true)
    }

    /// Restore the saved modes, see [`super::Terminal::leave`].
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        self.give_back(&mut state);
        if !matches!(state.phase, Phase::Over) {
            state.phase = Phase::Left;
        }
    }

    /// Restore the terminal for good. Nothing makes it raw again.
    pub(super) fn finish(&self) {
        self.finish_locked(&mut self.lock());
    }

    /// Do as [`Self::finish`], in a thread that panicked and may hold the lock.
    pub(super) fn finish_in_panic(&self) {
        for _ in 0..100 {
            match self.state.try_lock() {
                Ok(mut state) => return self.finish_locked(&mut state),
                Err(TryLockError::Poisoned(e)) => return self.finish_locked(&mut e.into_inner()),
                Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(1)),
            }
        }
    }

    fn finish_locked(&self, state: &mut State) {
        self.give_back(state);
        state.phase = Phase::Over;
        state.guard = None;
        self.changed.notify_all();
    }

    /// Restore the saved modes. In the background, only if the modes are still those that we
    /// set: other modes are the shell's own by now.
    fn give_back(&self, state: &mut State) {
        let Phase::Ours { saved, raw } = state.phase else { return };
        let untouched = || sys::modes(self.fd.as_fd()).is_ok_and(|now| guard::same(&now, &raw));
        if self.in_foreground() || untouched() {
            // SIGTTOU would stop a launcher in the background, perhaps just before its end.
            let stop = SigSet::from(Signal::SIGTTOU);
            let before = stop.thread_swap_mask(SigmaskHow::SIG_BLOCK);
            // A terminal that is gone needs no modes.
            let _ = sys::set_modes(self.fd.as_fd(), &saved);
            let _ = before.map(|before| before.thread_set_mask());
        }
        state.guard.iter_mut().for_each(Guard::rest);
        state.phase = Phase::Left;
        // Cannot fail: the counter is far from its limit.
        let _ = self.away.write(1);
    }

    /// Whether lguest is in the foreground, so that the user expects keys to reach it.
    fn in_foreground(&self) -> bool {
        is_foreground_of(self.fd.as_fd())
    }

    /// Wait for answers, see [`super::Terminal::await_answers`]. In the background, keys are not
    /// ours.
    pub(super) fn await_answers(&self) {
        if self.is_ours() && !self.is_hung_up() {
            self.questions.wait();
        }
    }

    /// The questions that the terminal has not answered yet.
    pub(crate) fn questions(&self) -> &Arc<Questions> {
        &self.questions
    }

    /// Whether this file is the same terminal.
    pub(super) fn is_terminal_of(&self, file: BorrowedFd<'_>) -> bool {
        sys::device(file).is_some_and(|other| sys::device(self.fd.as_fd()) == Some(other))
    }

    /// Whether the other end of the terminal has been closed.
    pub(crate) fn is_hung_up(&self) -> bool {
        sys::modes(self.fd.as_fd()).is_err()
    }

    /// Whether the stdin thread may read right now.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.lock().phase, Phase::Ours { .. })
    }

    /// Sleep until the stdin thread may read. Returns false if it may never read again,
    /// because the terminal was restored for good or is gone.
    pub(crate) fn wait_until_ours(&self) -> bool {
        let mut state = self.lock();
        loop {
            let phase = state.phase;
            match phase {
                Phase::Ours { .. } => return true,
                Phase::Over => return false,
                Phase::Left => {
                    state = wait(&self.changed, state);
                }
                Phase::Background if self.is_hung_up() => return false,
                Phase::Background if matches!(self.enter_locked(&mut state), Ok(true)) => {
                    // The kernel signals changes of size to the foreground only: check the size
                    // now.
                    let _ = kill(getpid(), Signal::SIGWINCH);
                }
                Phase::Background => {
                    state = wait_timeout(&self.changed, state, LOOK);
                }
            }
        }
    }

    /// Check whether lguest is in the background, after a read that failed or found nothing.
    /// Takes a moment, so that no caller can spin on it.
    pub(crate) fn look_again(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Ours { .. }) && !self.in_foreground() {
            self.give_back(&mut state);
            state.phase = Phase::Background;
        }
        drop(self.changed.wait_timeout(state, LOOK));
    }

    /// A descriptor that is readable while the terminal is not ours. It wakes up a thread that
    /// sleeps until a key comes.
    pub(crate) fn away(&self) -> BorrowedFd<'_> {
        self.away.as_fd()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Whether lguest is the foreground job of this terminal.
fn is_foreground_of(tty: BorrowedFd<'_>) -> bool {
    match tcgetpgrp(tty) {
        Ok(group) => group == getpgrp(),
        // The terminal is not our controlling terminal, so it has no job control for us.
        Err(Errno::ENOTTY) => true,
        Err(_) => false,
    }
}

/// Whether a read of `file` failed only because `file` is a terminal, and lguest is in its
/// background. If so, the function waits there. A process of an orphaned group gets that error,
/// too. The function does not wait for a terminal that is gone. It takes a moment, so that no
/// caller can spin on it.
pub(crate) fn waited_in_background(file: BorrowedFd<'_>, error: &io::Error) -> bool {
    let is_terminal = || sys::modes(file).is_ok();
    if error.raw_os_error() != Some(libc::EIO) || !is_terminal() {
        return false;
    }
    if !is_foreground_of(file) {
        log::info!("{}", super::BACKGROUND);
    }
    sleep(LOOK);
    while is_terminal() && !is_foreground_of(file) {
        sleep(LOOK);
    }
    is_terminal()
}
