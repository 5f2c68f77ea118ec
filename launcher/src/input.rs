//! What the guest is to read on a console: a pipe of the kernel, from whoever
//! types ([`crate::stdin`]) to the console's receive queue, which reads it straight
//! into guest memory. What is unread survives the guest's reboots.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, open, tee};
use nix::sys::stat::Mode;
use nix::unistd::{pipe2, write};

/// What the guest may leave unread. Hosts may grant less.
const CAPACITY: i32 = 1 << 20;

/// The input of one console.
#[derive(Debug)]
pub(crate) struct Input {
    guest_end: OwnedFd,
    /// Open for ever: that nobody types is not the end of the guest's console.
    our_end: OwnedFd,
    /// The same, of those who do not wait: a description of its own, so that they
    /// can have it non-blocking.
    sender: OwnedFd,
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
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let again = format!("/proc/self/fd/{}", our_end.as_raw_fd());
        let sender = open(again.as_str(), flags, Mode::empty())?;
        Ok(Self { guest_end, our_end, sender })
    }

    /// The end that the console's receive queue reads. Blocks while there is no
    /// input, and never ends.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub(crate) fn guest_end(&self) -> io::Result<File> {
        self.guest_end.try_clone().map(File::from)
    }

    /// Type this, as far as there is room: so many bytes.
    ///
    /// # Errors
    /// None are expected of a pipe.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match write(&self.sender, bytes) {
            Ok(written) => Ok(written),
            Err(Errno::EAGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// What [`Self::send`] writes to: ready to be written to when there is room.
    pub(crate) fn sender(&self) -> BorrowedFd<'_> {
        self.sender.as_fd()
    }

    /// What the guest has not read yet. It stays where it is.
    ///
    /// # Errors
    /// When the host has no descriptors to spare.
    pub(crate) fn unread(&self) -> io::Result<Vec<u8>> {
        let (copy, copy_end) = pipe2(OFlag::O_CLOEXEC)?;
        let capacity = fcntl(&self.our_end, FcntlArg::F_GETPIPE_SZ)?;
        let _ = fcntl(&copy_end, FcntlArg::F_SETPIPE_SZ(capacity));
        let all = usize::try_from(capacity).map_err(io::Error::other)?;
        match tee(&self.guest_end, &copy_end, all, SpliceFFlags::SPLICE_F_NONBLOCK) {
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        drop(copy_end);
        let mut bytes = Vec::new();
        File::from(copy).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The end to type into.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub(crate) fn our_end(&self) -> io::Result<File> {
        self.our_end.try_clone().map(File::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unread_is_seen_and_stays() {
        let input = Input::new().unwrap();
        assert_eq!(input.unread().unwrap(), b"");
        assert_eq!(input.send(b"echo hi\n").unwrap(), 8);
        for _ in 0..2 {
            assert_eq!(input.unread().unwrap(), b"echo hi\n");
        }
        let mut read = [0; 5];
        input.guest_end().unwrap().read_exact(&mut read).unwrap();
        assert_eq!(input.unread().unwrap(), b"hi\n");
    }

    #[test]
    fn all_of_a_full_pipe_is_seen() {
        let input = Input::new().unwrap();
        let line = b"sixteen bytes..\n";
        let mut sent = 0;
        while let count @ 1.. = input.send(line).unwrap() {
            assert_eq!(count, line.len(), "half a line was sent");
            sent += count;
        }
        assert!(sent > 4095, "{sent} bytes");
        assert!(input.unread().unwrap() == line.repeat(sent / line.len()));
    }
}
