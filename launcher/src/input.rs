//! What the guest is to read on a console: a pipe of the kernel, from whoever
//! types ([`crate::stdin`]) to the console's receive queue, which reads it straight
//! into guest memory. What is unread survives the guest's reboots.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

/// What the guest may leave unread. Hosts may grant less.
const CAPACITY: i32 = 1 << 20;

/// The input of one console.
#[derive(Debug)]
pub(crate) struct Input {
    guest_end: OwnedFd,
    /// Open for ever: that nobody types is not the end of the guest's console.
    our_end: OwnedFd,
}

impl Input {
    /// Nothing yet.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub(crate) fn new() -> io::Result<Self> {
        let (guest_end, our_end) = pipe2(OFlag::O_CLOEXEC)?;
        // Less room is still room.
        let _ = fcntl(&our_end, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        Ok(Self { guest_end, our_end })
    }

    /// The end that the console's receive queue reads. Blocks while there is no
    /// input, and never ends.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub(crate) fn guest_end(&self) -> io::Result<File> {
        self.guest_end.try_clone().map(File::from)
    }

    /// The end to type into.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub(crate) fn our_end(&self) -> io::Result<File> {
        self.our_end.try_clone().map(File::from)
    }
}
