//! What travels over the sockets between a launcher and its clients: the requests and answers of
//! the control socket ([`protocol`]), the frames of an attached console ([`frame`]) and the names
//! of guests ([`name`]). docs/control.md describes all of it. Nothing in here opens a socket.

pub(crate) mod frame;
pub(crate) mod name;
pub(crate) mod protocol;

pub(crate) use frame::{Frame, Wire};
pub(crate) use name::{Name, parse as parse_name};
