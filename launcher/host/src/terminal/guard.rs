//! The guard: a tiny process beside the launcher that gives the terminal back
//! when the launcher cannot (SIGKILL, a crash). It sleeps in a read of a pipe
//! that only the launcher has open for writing, and so learns of its death from
//! the kernel.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, chdir, pipe2, setsid};

use super::sys::{self, Modes};
use crate::privilege::PrivilegeDrop;

/// The launcher's side of the guard.
#[derive(Debug)]
pub(super) struct Guard {
    child: Pid,
    /// None when it is dismissed.
    pipe: Option<File>,
}

impl Guard {
    /// Fork the guard. No second thread may exist yet, and every descriptor
    /// that the launcher opens later stays unknown to the guard.
    pub(super) fn start(tty: BorrowedFd<'_>, privileges: &PrivilegeDrop) -> io::Result<Self> {
        let (read_end, write_end) = pipe2(OFlag::O_CLOEXEC)?;
        let child = sys::fork_child(|| stand_guard(File::from(read_end), tty, privileges))?;
        Ok(Self { child, pipe: Some(File::from(write_end)) })
    }

    /// From now on: if the launcher dies while the terminal's modes are `raw`,
    /// set them to `saved`.
    pub(super) fn watch(&mut self, saved: &Modes, raw: &Modes) {
        self.tell(&GuardCommand::Watch { saved: *saved, raw: *raw });
    }

    /// The terminal is not raw by our doing any more.
    pub(super) fn rest(&mut self) {
        self.tell(&GuardCommand::Rest);
    }

    fn tell(&mut self, order: &GuardCommand) {
        // Do not fail if somebody has killed the guard.
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.write_all(&order.to_bytes());
        }
    }
}

impl Drop for Guard {
    /// Dismiss the guard: it has nothing left to restore.
    fn drop(&mut self) {
        self.rest();
        // Somebody may have stopped it, so that it would never see the pipe close.
        let _ = kill(self.child, Signal::SIGKILL);
        // Where it is another user's still, since it has not come to give that up, it sees
        // this instead.
        self.pipe = None;
        let _ = waitpid(self.child, None);
    }
}

/// The guard's life.
fn stand_guard(mut orders: File, tty: BorrowedFd<'_>, privileges: &PrivilegeDrop) {
    // Not "lguest-...": `pkill -9 lguest` is when it is needed most.
    let _ = prctl::set_name(c"tty-guard");
    // Out of reach of ^C, hang-ups and whatever else is meant for the launcher.
    // Nothing but SIGKILL gets through, and tcsetattr cannot stop us.
    let _ = SigSet::all().thread_block();
    let _ = setsid();
    // Keep no pipe open that somebody waits to see closed, and no file system busy.
    sys::close_all_but([orders.as_fd(), tty]);
    let _ = chdir("/");
    // The open descriptor is all that it takes to set a terminal's modes. What fails here fails
    // for the launcher, too, before it touches the terminal.
    if privileges.enter().is_err() {
        return;
    }
    let mut order = GuardCommand::Rest;
    let mut bytes = [0; GuardCommand::SIZE];
    while orders.read_exact(&mut bytes).is_ok() {
        order = GuardCommand::from_bytes(&bytes);
    }
    // The launcher is gone. If the modes are no longer the ones it set, somebody
    // has taken the terminal over: a shell that reads its next command, say. One
    // that does so between these two calls finds itself without line editing
    // until the next Enter; the kernel has no call that compares and sets.
    if let GuardCommand::Watch { saved, raw } = order
        && sys::modes(tty).is_ok_and(|now| same(&now, &raw))
    {
        let _ = sys::set_modes(tty, &saved);
    }
}

/// Do both say the same, to the last bit?
pub(super) fn same(a: &Modes, b: &Modes) -> bool {
    to_bytes(a) == to_bytes(b)
}

/// What the guard shall do if the launcher dies now.
enum GuardCommand {
    Rest,
    Watch { saved: Modes, raw: Modes },
}

/// Four words of flags, the line discipline, the characters, two speeds.
const MODES_SIZE: usize = 4 * 4 + 1 + libc::NCCS + 2 * 4;

impl GuardCommand {
    /// All orders have one size, far below the one up to which a pipe delivers
    /// a write in one piece.
    const SIZE: usize = 1 + 2 * MODES_SIZE;

    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        if let Self::Watch { saved, raw } = self {
            let fields = [1].into_iter().chain(to_bytes(saved)).chain(to_bytes(raw));
            for (byte, field) in bytes.iter_mut().zip(fields) {
                *byte = field;
            }
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut bytes = bytes.iter().copied();
        if bytes.next() == Some(0) {
            return Self::Rest;
        }
        Self::Watch { saved: from_bytes(&mut bytes), raw: from_bytes(&mut bytes) }
    }
}

fn to_bytes(modes: &Modes) -> [u8; MODES_SIZE] {
    let flags = [modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag];
    let speeds = [modes.c_ispeed, modes.c_ospeed];
    let fields = flags.into_iter().flat_map(u32::to_ne_bytes).chain([modes.c_line]);
    let fields = fields.chain(modes.c_cc).chain(speeds.into_iter().flat_map(u32::to_ne_bytes));
    let mut bytes = [0; MODES_SIZE];
    for (byte, field) in bytes.iter_mut().zip(fields) {
        *byte = field;
    }
    bytes
}

fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Modes {
    let mut next = || bytes.next().unwrap_or(0);
    fn word(next: &mut impl FnMut() -> u8) -> u32 {
        u32::from_ne_bytes([next(), next(), next(), next()])
    }
    // The fields are evaluated in the order written here, which is that of `to_bytes`.
    Modes {
        c_iflag: word(&mut next),
        c_oflag: word(&mut next),
        c_cflag: word(&mut next),
        c_lflag: word(&mut next),
        c_line: next(),
        c_cc: std::array::from_fn(|_| next()),
        c_ispeed: word(&mut next),
        c_ospeed: word(&mut next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_the_pipe() {
        let mut counter = 0..;
        let saved = from_bytes(&mut counter.by_ref().map(|n: u32| n.to_le_bytes()[0]));
        let raw = sys::raw(&saved);
        let bytes = GuardCommand::Watch { saved, raw }.to_bytes();
        let GuardCommand::Watch { saved: got_saved, raw: got_raw } =
            GuardCommand::from_bytes(&bytes)
        else {
            panic!("became an order to rest");
        };
        assert_eq!(got_saved.c_cc, saved.c_cc);
        assert_eq!(got_saved.c_ospeed, saved.c_ospeed);
        assert!(same(&got_saved, &saved) && same(&got_raw, &raw) && !same(&saved, &raw));
        assert!(matches!(
            GuardCommand::from_bytes(&GuardCommand::Rest.to_bytes()),
            GuardCommand::Rest
        ));
    }
}
