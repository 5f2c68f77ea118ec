//! How a thread of the launcher's is started: one that serves a user, a client, or a
//! vCPU. (A queue's is for [`devices::queue_thread`].)

use std::io;
use std::thread::{Builder, JoinHandle};

use devices::queue_thread::no_thread;

/// Enough for all of them, also when they panic, and for a line of JSON as deep as
/// serde_json reads it, not optimised; the usual 2 MiB would become a huge page on
/// hosts that give them unasked.
const STACK: usize = 256 << 10;

/// Start it. Its name is to be 15 bytes at most: the host shows no more.
///
/// # Errors
/// When the host has no thread to spare.
pub(crate) fn start<T: Send + 'static>(
    name: impl Into<String>,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let thread = Builder::new().name(name.into()).stack_size(STACK).spawn(body);
    thread.map_err(no_thread)
}
