//! A terminal whose user is a test.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;

use super::{LONG, Running};
use crate::terminal::sys::{self, Modes};

/// Both ends of a pseudo-terminal. The test keeps the slave open, so that it
/// sees what a launcher leaves behind: modes and descriptor flags.
pub(crate) struct Pty {
    master: File,
    pub(crate) slave: OwnedFd,
    pub(crate) name: PathBuf,
    pub(crate) seen: Vec<u8>,
}

impl Pty {
    pub(crate) fn open() -> Self {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = PathBuf::from(ptsname_r(&master).unwrap());
        let slave = open(&name, flags, Mode::empty()).unwrap();
        let master = File::from(master.as_fd().try_clone_to_owned().unwrap());
        Self { master, slave, name, seen: Vec::new() }
    }

    /// Start `command` with this terminal on stdin, stdout and stderr.
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        Running::start(command.stdin(self.stdio()).stdout(self.stdio()).stderr(self.stdio()))
    }

    pub(crate) fn stdio(&self) -> Stdio {
        self.slave.try_clone().unwrap().into()
    }

    pub(crate) fn type_in(&self, keys: impl AsRef<[u8]>) {
        (&self.master).write_all(keys.as_ref()).unwrap();
    }

    /// The user's end, for a thread of the test.
    pub(crate) fn user(&self) -> File {
        self.master.try_clone().unwrap()
    }

    /// Wait until `text` is printed; forget what was printed up to there.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen.windows(text.len()).position(|part| part == text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let seen = String::from_utf8_lossy(&self.seen);
            let wanted = String::from_utf8_lossy(text);
            assert!(start.elapsed() < LONG, "never printed: {wanted:?}, but {seen:?}");
            self.pump();
        }
    }

    /// Wait for something to become true while reading what is printed.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut is_true: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !is_true(self) {
            let seen = String::from_utf8_lossy(&self.seen);
            assert!(start.elapsed() < LONG, "never: {what}; printed: {seen:?}");
            self.pump();
        }
    }

    /// Type a key, and wait until `launcher` has read it, so that the next key is in another read.
    /// If the launcher has ended, the key is not read.
    #[track_caller]
    pub(crate) fn press(&mut self, key: u8, launcher: &mut Running) {
        self.until("keys are waited for", |_| launcher.sleeps("stdin") || !launcher.is_running());
        let before = launcher.naps("stdin");
        self.type_in([key]);
        // The key may reach the other end of the terminal a moment later.
        self.until("the key is read", |_| {
            launcher.naps("stdin") != before || !launcher.is_running()
        });
    }

    /// Read what is printed, for a moment.
    pub(crate) fn pump(&mut self) {
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, 5u8).unwrap() > 0 {
            let mut buffer = [0; 4096];
            let length = self.master.read(&mut buffer).unwrap_or(0);
            self.seen.extend(&buffer[..length]);
        }
    }

    pub(crate) fn modes(&self) -> Modes {
        sys::modes(self.slave.as_fd()).unwrap()
    }

    pub(crate) fn set_modes(&self, modes: &Modes) {
        sys::set_modes(self.slave.as_fd(), modes).unwrap();
    }

    pub(crate) fn is_raw(&self) -> bool {
        self.modes() == sys::raw(&self.modes())
    }

    /// The flags that all owners of the descriptor share.
    pub(crate) fn flags(&self) -> i32 {
        fcntl(&self.slave, FcntlArg::F_GETFL).unwrap()
    }
}
