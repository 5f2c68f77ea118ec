//! The process at the other end of a Unix socket: of the control socket, or of a console's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials, sockopt::PeerPidfd};
use nix::unistd::Uid;

use crate::sys;

/// Whether the process at the other end belongs to the user of this process, or to root.
pub fn is_one_of_us(stream: &UnixStream) -> bool {
    let Ok(peer) = getsockopt(stream, PeerCredentials) else { return false };
    peer.uid() == 0 || peer.uid() == Uid::effective().as_raw()
}

/// The number of the process at the other end; 0 if the host does not report it.
pub fn pid(stream: &UnixStream) -> i32 {
    getsockopt(stream, PeerCredentials).map_or(0, |peer| peer.pid())
}

/// A handle of a process (pidfd), which stays valid when another process gets the same number.
/// Empty if the process had already ended.
#[derive(Debug)]
pub struct ProcessHandle(Option<OwnedFd>);

impl ProcessHandle {
    /// The process that listens on the socket to which this stream is connected. The kernel reports
    /// it, and the process cannot forge it.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        match getsockopt(stream, PeerPidfd) {
            Ok(process) => Ok(Self(Some(process))),
            // The process has ended: an error of kernels before 6.16.
            Err(Errno::ESRCH | Errno::EINVAL) => Ok(Self(None)),
            // Kernels before 6.5 report the number alone. If the process answers after this, the
            // number was that process's.
            Err(Errno::ENOPROTOOPT) => Self::numbered(pid(stream)),
            Err(error) => Err(error.into()),
        }
    }

    /// The process of this number.
    ///
    /// # Errors
    /// When the host has no descriptor to spare.
    pub fn numbered(pid: i32) -> io::Result<Self> {
        match sys::open_process(pid) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(Self(None)),
            process => process.map(|process| Self(Some(process))),
        }
    }

    /// Wait until the process has ended.
    pub fn wait(&self) {
        let Some(process) = &self.0 else { return };
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
    }
}
