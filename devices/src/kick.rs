//! Getting a thread out of whatever system call it sleeps in, so that it sees
//! that it has been told to stop. The kick is a signal with an empty handler: it
//! makes every blocking call return EINTR, be it `read` of a doorbell, `readv`
//! of a tap or `ioctl(KVM_RUN)`, at no cost to the calls that are not
//! interrupted. One that arrives just before the call begins is lost;
//! therefore it is repeated until the thread has ended.
//!
//! Queue threads are stopped like this ([`crate::queue_thread`]), and the
//! launcher's vCPU threads too.

use std::sync::Once;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler, unblock_signal};

extern "C" fn interrupted(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Prepare the process for kicks. Any thread that is to be kicked must have
/// been started after this.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = register_signal_handler(SIGRTMIN(), interrupted) {
            log::error!("cannot install the handler of signal {}: {error}", SIGRTMIN());
        }
    });
}

/// Let kicks reach the calling thread, whatever signals its parent had blocked
/// when it was started.
pub fn accept() {
    if let Err(error) = unblock_signal(SIGRTMIN()) {
        log::error!("cannot unblock signal {}: {error}", SIGRTMIN());
    }
}

/// Kick a thread that has been told to stop until it has, but not after `until`.
/// Whether it has: a system call that waits for a disk or a file server of the
/// host may return for no signal.
pub fn stops<T>(thread: &JoinHandle<T>, until: Option<Instant>) -> bool {
    let mut patience = Duration::from_micros(20);
    while !thread.is_finished() {
        // Fails only for a thread that has just ended.
        let _ = thread.kill(SIGRTMIN());
        if until.is_some_and(|until| Instant::now() >= until) {
            return false;
        }
        thread::sleep(patience);
        patience = (patience * 2).min(Duration::from_millis(10));
    }
    true
}

/// Kick a thread that has been told to stop until it has, and take its result.
///
/// # Errors
/// The payload of its panic.
pub fn join<T>(thread: JoinHandle<T>) -> thread::Result<T> {
    stops(&thread, None);
    thread.join()
}
