//! The host's side of a guest: the user's terminal and streams, disks, network cards, privileges.
//! This crate knows nothing of KVM or of guest memory, and does not know how the command line is
//! parsed.
//!
//! - The user: [`terminal`] (raw mode and its guard), [`stdin`], [`messages`], [`progress`],
//!   [`signals`], [`exit`].
//! - Streams between the guest and the user: [`input`], [`output`], [`writer`], [`trace`].
//! - What devices work on: [`disk`], [`net`].
//! - The process: [`descriptors`], [`inherited`], [`standard`], [`privilege`], [`sandbox`].
//! - Unix sockets: [`listener`], [`peer`].

#[expect(unsafe_code, reason = "all FFI but that of terminals and taps lives here")]
mod sys;

pub mod descriptors;
pub mod disk;
pub mod exit;
pub mod inherited;
pub mod input;
pub mod listener;
pub mod messages;
pub mod net;
pub mod output;
pub mod peer;
pub mod privilege;
pub mod progress;
mod sandbox;
pub mod signals;
pub mod standard;
pub mod stdin;
pub mod terminal;
pub mod trace;
pub mod writer;

pub use sys::return_large_buffers;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
