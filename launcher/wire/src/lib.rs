//! The data on the sockets between a launcher and its clients: the requests and answers of
//! the control socket ([`protocol`]), the frames of an attached console ([`frame`]) and the names
//! of guests ([`name`]). docs/control.md describes all of it. Nothing in this crate opens a socket.

pub mod frame;
pub(crate) mod name;
pub mod protocol;

pub use frame::{ConsoleFrame, Wire};
pub use name::{Name, parse as parse_name};
