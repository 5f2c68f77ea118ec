//! Wakes a thread from the system call that it sleeps in, so that it sees a request to
//! stop. The kick is a signal with an empty handler: every blocking call returns EINTR,
//! be it `read` of a doorbell, `readv` of a tap or `ioctl(KVM_RUN)`. Calls that are not
//! interrupted cost nothing more. A signal that arrives just before the call begins is
//! lost; therefore it is repeated until the thread has ended.
//!
//! Queue threads are stopped this way ([`crate::queue_thread`]), and so are the
//! launcher's vCPU threads.

use std::sync::Once;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler, unblock_signal};

extern "C" fn interrupted(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Prepares the process for kicks. Call it before you start a thread that will be kicked.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = register_signal_handler(SIGRTMIN(), interrupted) {
            log::error!("cannot install the handler of signal {}: {error}", SIGRTMIN());
        }
    });
}

/// Lets kicks reach the calling thread, which inherits blocked signals from its parent.
pub fn accept() {
    if let Err(error) = unblock_signal(SIGRTMIN()) {
        log::error!("cannot unblock signal {}: {error}", SIGRTMIN());
    }
}

/// Kicks a thread that was asked to stop until it has ended, but not longer than
/// `deadline`. Returns whether it has ended: a system call that waits for a disk or a
/// file server of the host may not return for any signal. None waits without a limit.
pub fn wait_stopped<T>(thread: &JoinHandle<T>, deadline: Option<Instant>) -> bool {
    let mut patience = Duration::from_micros(20);
    while !thread.is_finished() {
        // Fails only for a thread that has just ended.
        let _ = thread.kill(SIGRTMIN());
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return false;
        }
        thread::sleep(patience);
        patience = (patience * 2).min(Duration::from_millis(10));
    }
    true
}

/// Kicks a thread that was asked to stop until it has ended, and returns its result.
///
/// # Errors
/// The payload of its panic.
pub fn join<T>(thread: JoinHandle<T>) -> thread::Result<T> {
    wait_stopped(&thread, None);
    thread.join()
}
