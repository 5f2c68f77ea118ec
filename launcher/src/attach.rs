//! A client at a console of a guest: what goes over the connection once `attach`
//! has been answered (docs/control.md). [`frame`] is its wire; [`server`] the
//! launcher's end; [`client`] the end of `lguest console`.

pub(crate) mod client;
mod escape;
mod frame;
mod replay;
pub(crate) mod server;

pub(crate) use escape::Escape;
