//! A terminal of which the test holds both ends. So no shell can repair what a launcher leaves
//! changed.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::unistd::ttyname;

use crate::sys;
use crate::wait::OrFail;

/// A pseudo-terminal.
#[derive(Debug)]
pub struct Pty {
    master: OwnedFd,
    slave: OwnedFd,
    path: PathBuf,
}

/// The state that a launcher must restore.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// iflag, oflag, cflag, lflag and both speeds.
    modes: [u32; 6],
    line: u8,
    characters: [u8; libc::NCCS],
    /// The flags of the open file description that the launcher shares with the test. They show a
    /// leaked O_NONBLOCK.
    flags: OFlag,
}

impl Pty {
    /// Creates a terminal of this size.
    #[must_use]
    #[track_caller]
    pub fn new(rows: u16, columns: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).or_fail("opening a pty");
        for end in [&pair.master, &pair.slave] {
            let flag = FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
            fcntl(end, flag).or_fail("setting FD_CLOEXEC");
        }
        let path = ttyname(&pair.slave).or_fail("naming a pty");
        Self { master: pair.master, slave: pair.slave, path }
    }

    /// The path of the terminal, below /dev/pts.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A descriptor for a program's stdin or stdout. It shares the test's open file description.
    #[must_use]
    #[track_caller]
    pub fn slave(&self) -> OwnedFd {
        self.slave.try_clone().or_fail("duplicating a pty")
    }

    /// The end that the user's side reads and writes.
    #[must_use]
    #[track_caller]
    pub fn master(&self) -> File {
        self.master.try_clone().or_fail("duplicating a pty").into()
    }

    /// The state of the terminal now.
    #[must_use]
    #[track_caller]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.slave.as_fd())
    }

    /// Changes the size of the terminal.
    #[track_caller]
    pub fn resize(&self, rows: u16, columns: u16) {
        sys::resize(self.master.as_fd(), rows, columns).or_fail("resizing a pty");
    }

    /// Makes the terminal raw, as `stty raw` does.
    #[track_caller]
    pub fn make_raw(&self) {
        sys::make_raw(self.slave.as_fd()).or_fail("making a pty raw");
    }

    /// How many typed bytes nobody has read yet.
    #[must_use]
    #[track_caller]
    pub fn unread(&self) -> i32 {
        sys::unread(self.slave.as_fd()).or_fail("asking a pty for unread input")
    }
}

impl Snapshot {
    /// The state of the terminal to which this descriptor refers.
    #[must_use]
    #[track_caller]
    pub fn of(tty: BorrowedFd<'_>) -> Self {
        let modes = sys::modes(tty).or_fail("reading a terminal's modes");
        let flags = fcntl(tty, FcntlArg::F_GETFL).or_fail("reading file flags");
        Self {
            modes: [
                modes.c_iflag,
                modes.c_oflag,
                modes.c_cflag,
                modes.c_lflag,
                modes.c_ispeed,
                modes.c_ospeed,
            ],
            line: modes.c_line,
            characters: modes.c_cc,
            flags: OFlag::from_bits_retain(flags),
        }
    }

    /// Whether the terminal passes on every key and every byte unchanged.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        let [input, output, _, local, ..] = self.modes;
        let input_flags = libc::ICRNL | libc::INLCR | libc::IGNCR | libc::IXON | libc::ISTRIP;
        let local_flags = libc::ICANON | libc::ECHO | libc::ISIG | libc::IEXTEN;
        input & input_flags == 0 && output & libc::OPOST == 0 && local & local_flags == 0
    }

    /// Whether a read of this description would return at once if no input is there.
    #[must_use]
    pub fn is_nonblocking(&self) -> bool {
        self.flags.contains(OFlag::O_NONBLOCK)
    }
}
