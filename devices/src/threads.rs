//! How every thread of the process is started: a queue's, a vCPU's, and those that serve a user
//! or a client.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Stack of a thread in bytes. It is enough for a panic, and for a line of JSON as deep as
/// serde_json reads it, not optimised. The usual 2 MiB would become a huge page on hosts that
/// give huge pages unasked.
const STACK: usize = 256 << 10;

/// Start a thread that runs `body`. The host shows no more than 15 bytes of its name.
///
/// # Errors
/// When the host has no thread to spare; the text names the limits that may be the cause.
pub fn start<T: Send + 'static>(
    name: impl Into<String>,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let thread = Builder::new().name(name.into()).stack_size(STACK).spawn(body);
    thread.map_err(name_limits)
}

/// What the host says when it has no thread is "Resource temporarily unavailable".
fn name_limits(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOMEM) => io::Error::other(
            "the host grants no more threads: look at ulimit -u, ulimit -v and the pids.max of \
             the cgroup",
        ),
        _ => error,
    }
}
