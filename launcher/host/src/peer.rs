//! The process at the other end of a Unix socket: the control socket's, or a console's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials, sockopt::PeerPidfd};
use nix::unistd::Uid;

use crate::sys;

/// Does the process that connected belong to our user, or to root?
pub fn is_one_of_us(stream: &UnixStream) -> bool {
    let Ok(peer) = getsockopt(stream, PeerCredentials) else { return false };
    peer.uid() == 0 || peer.uid() == Uid::effective().as_raw()
}

/// Its number; 0 if the host does not tell.
pub fn pid(stream: &UnixStream) -> i32 {
    getsockopt(stream, PeerCredentials).map_or(0, |peer| peer.pid())
}

/// A process, however many others have had its number; none if it has ended.
#[derive(Debug)]
pub struct ProcessHandle(Option<OwnedFd>);

impl ProcessHandle {
    /// The one that listens where this stream was connected to: the kernel's word, which that
    /// process has no say in.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        match getsockopt(stream, PeerPidfd) {
            Ok(process) => Ok(Self(Some(process))),
            // A process that has ended, as kernels before 6.16 tell it.
            Err(Errno::ESRCH | Errno::EINVAL) => Ok(Self(None)),
            // Kernels before 6.5 know its number. If it answers after this, the number was its.
            Err(Errno::ENOPROTOOPT) => Self::numbered(pid(stream)),
            Err(error) => Err(error.into()),
        }
    }

    /// The one of this number.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn numbered(pid: i32) -> io::Result<Self> {
        match sys::open_process(pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(Self(None)),
            process => process.map(|process| Self(Some(process))),
        }
    }

    /// Wait until it has ended.
    pub fn wait(&self) {
        let Some(process) = &self.0 else { return };
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
    }
}
