//! Who is at the other end of a Unix socket: of [`crate::control`]'s, and of the one
//! that a console may have ([`crate::console`]).

use std::os::unix::net::UnixStream;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;

/// Does the process that connected belong to our user, or to root?
pub(crate) fn is_one_of_us(stream: &UnixStream) -> bool {
    let Ok(peer) = getsockopt(stream, PeerCredentials) else { return false };
    peer.uid() == 0 || peer.uid() == Uid::effective().as_raw()
}

/// Its number; 0 if the host does not tell.
pub(crate) fn pid(stream: &UnixStream) -> i32 {
    getsockopt(stream, PeerCredentials).map_or(0, |peer| peer.pid())
}
