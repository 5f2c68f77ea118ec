//! The guard: a tiny process beside the launcher that restores the terminal
//! if the launcher cannot (SIGKILL, a crash). The guard sleeps in a read of a pipe
//! that only the launcher has open for writing. The read ends when the launcher
//! dies.

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
    /// The pipe to the guard. `None` when the guard is dismissed.
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

    /// Have the guard set the terminal's modes to `saved` if the launcher dies while
    /// they are `raw`.
    pub(super) fn watch(&mut self, saved: &Modes, raw: &Modes) {
        self.send(&GuardCommand::Watch { saved: *saved, raw: *raw });
    }

    /// Have the guard do nothing if the launcher dies: the launcher has restored the terminal.
    pub(super) fn rest(&mut self) {
        self.send(&GuardCommand::Rest);
    }

    fn send(&mut self, command: &GuardCommand) {
        // A guard that the user has killed is not an error.
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.write_all(&command.to_bytes());
        }
    }
}

impl Drop for Guard {
    /// Dismiss the guard, which has nothing left to restore.
    fn drop(&mut self) {
        self.rest();
        // A guard that is stopped would not see the pipe close.
        let _ = kill(self.child, Signal::SIGKILL);
        // The kill fails if the guard has not become the same user as the launcher yet: then it
        // sees the pipe close.
        self.pipe = None;
        let _ = waitpid(self.child, None);
    }
}

/// Run the guard: the body of its process.
fn stand_guard(mut commands: File, tty: BorrowedFd<'_>, privileges: &PrivilegeDrop) {
    // The name is not "lguest-...", so that the guard survives `pkill -9 lguest`.
    let _ = prctl::set_name(c"tty-guard");
    // ^C, hang-ups and other signals for the launcher do not reach the guard. Only
    // SIGKILL does, and tcsetattr cannot stop the guard.
    let _ = SigSet::all().thread_block();
    let _ = setsid();
    // Keep no pipe open whose end another process waits for, and no file system busy.
    sys::close_all_but([commands.as_fd(), tty]);
    let _ = chdir("/");
    // The open descriptor is enough to set a terminal's modes. If the guard cannot drop privileges,
    // the launcher cannot either, and ends before it changes the terminal.
    if privileges.enter().is_err() {
        return;
    }
    let mut command = GuardCommand::Rest;
    let mut bytes = [0; GuardCommand::SIZE];
    while commands.read_exact(&mut bytes).is_ok() {
        command = GuardCommand::from_bytes(&bytes);
    }
    // The launcher is gone. If the modes are no longer the ones that it set, another
    // program has taken the terminal over, such as a shell that reads its next command.
    // A shell that does so between these two calls has no line editing
    // until the next Enter; the kernel has no call that compares and sets.
    if let GuardCommand::Watch { saved, raw } = command
        && sys::modes(tty).is_ok_and(|now| same(&now, &raw))
    {
        let _ = sys::set_modes(tty, &saved);
    }
}

/// Whether two sets of modes are equal to the last bit.
pub(super) fn same(a: &Modes, b: &Modes) -> bool {
    to_bytes(a) == to_bytes(b)
}

/// The action of the guard when the launcher dies.
enum GuardCommand {
    Rest,
    Watch { saved: Modes, raw: Modes },
}

/// The size of encoded modes in bytes: four words of flags, the line discipline, the characters,
/// two speeds.
const MODES_SIZE: usize = 4 * 4 + 1 + libc::NCCS + 2 * 4;

impl GuardCommand {
    /// The size of a command in bytes, far below the size up to which a pipe delivers
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
    fn a_command_survives_the_pipe() {
        let mut counter = 0..;
        let saved = from_bytes(&mut counter.by_ref().map(|n: u32| n.to_le_bytes()[0]));
        let raw = sys::raw(&saved);
        let bytes = GuardCommand::Watch { saved, raw }.to_bytes();
        let GuardCommand::Watch { saved: got_saved, raw: got_raw } =
            GuardCommand::from_bytes(&bytes)
        else {
            panic!("became the command to rest");
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
