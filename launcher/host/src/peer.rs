//! The process at the other end of a Unix socket: of the control socket, or of a console's.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials, sockopt::PeerPidfd};
use nix::unistd::Uid;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

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

/// Whether the process at the other end has closed its socket, or has ended.
pub fn has_left(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::from_bits_retain(libc::POLLRDHUP))];
    // nix drops a flag that it does not know, such as this one.
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1)) && fds[0].any() != Some(false)
}

/// The most files that one message carries (SCM_MAX_FD).
pub const MOST_FILES: usize = 253;

/// The byte that files travel with.
const CARRIER: &[u8] = b"\n";

/// Give open files to the process at the other end.
///
/// # Errors
/// When the process has left, or there are more than [`MOST_FILES`].
pub fn send_files(stream: &UnixStream, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::other("too many files for one message"));
    }
    sendmsg(stream, &[IoSlice::new(CARRIER)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Take the open files that the process at the other end gives with its next byte. Other programs
/// that are started do not inherit them.
///
/// # Errors
/// When nothing comes, or the process has left.
pub fn receive_files(stream: &UnixStream) -> io::Result<Vec<File>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let parts = &mut [IoSliceMut::new(&mut byte)];
    if recvmsg(stream, parts, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received.map(File::from));
        }
    }
    Ok(files)
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn files_arrive_open_and_in_order() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut files: Vec<_> = (0..MOST_FILES).map(|_| tempfile::tempfile().unwrap()).collect();
        for (number, file) in files.iter_mut().enumerate() {
            write!(file, "{number}").unwrap();
        }
        let descriptors: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        send_files(&here, &descriptors).unwrap();

        let received = receive_files(&there).unwrap();

        assert_eq!(received.len(), MOST_FILES);
        for (number, mut file) in received.into_iter().enumerate() {
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn a_process_that_leaves_gives_nothing() {
        let (here, there) = UnixStream::pair().unwrap();
        assert!(!has_left(&there));
        drop(here);
        assert!(has_left(&there));
        assert!(receive_files(&there).is_err());
        assert!(send_files(&there, &[]).is_err());
    }
}
