//! A Unix socket to which only its user may connect, from the moment that it has a name. Used for
//! the control socket and for those of consoles.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::socket::{bind, listen, socket};
use nix::sys::stat::{Mode, fchmod};

/// Create a socket of this name to which only its user may connect, and listen on it.
///
/// # Errors
/// When the host refuses it. `AddrInUse` if the name exists.
pub fn listen_alone(path: &Path) -> io::Result<UnixListener> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Linux creates the name with the socket's own mode. If other users can write to the directory,
    // an existing name may be a link by the time that its mode is changed.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&socket, Backlog::MAXCONN)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_its_user_can_connect_and_an_existing_name_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let listener = listen_alone(&socket).unwrap();
        assert_eq!(fs::symlink_metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o600);
        std::os::unix::net::UnixStream::connect(&socket).unwrap();
        listener.accept().unwrap();
        let (link, victim) = (directory.path().join("link"), directory.path().join("victim"));
        symlink(&victim, &link).unwrap();
        for taken in [&socket, &link] {
            let error = listen_alone(taken).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
        assert!(!victim.exists());
    }
}
