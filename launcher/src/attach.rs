//! A client at a console of a guest: what goes over the connection once `attach`
//! has been answered (docs/control.md). [`server`] is the
//! launcher's end, called by [`crate::control`]; [`client`] the end of
//! `lguest console`, called by `main`.

pub(crate) mod client;
