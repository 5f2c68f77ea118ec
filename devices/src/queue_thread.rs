//! One thread for one virtqueue, from DRIVER_OK to the reset. A pause ends the thread,
//! and resuming starts another one. The thread sleeps in
//! [`crate::queue::Virtqueue::wait_for_request`] or in its [`crate::device::Service`]. It
//! ends for three reasons: it was asked to; the guest broke the protocol (the device needs
//! a reset, everything else continues); the host failed or the thread panicked (the machine
//! ends). [`ServedQueue`] has what the thread does until then.

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::error::{GuestError, ServeError};
use crate::kick;
use crate::stop::StopFlag;
use crate::threads;

mod served_queue;
mod state;

pub use served_queue::ServedQueue;
pub use state::ServedQueueState;

/// The device of a queue thread. The thread reports to it what it cannot handle itself.
pub trait Owner: Send + Sync {
    /// The guest broke the protocol of the queue, and the thread ends.
    fn needs_reset(&self, thread: &str, error: &GuestError);

    /// The guest's driver takes input from now on, see
    /// [`crate::device::Service::probes_driver`].
    fn driver_ready(&self);

    /// The host failed or the thread panicked, and the thread ends.
    fn failed(&self, thread: &str, why: &str);
}

/// A virtqueue with the thread that serves it. After a pause the thread has ended, and its
/// result is the queue. Dropping this stops the thread.
pub struct QueueThread {
    name: String,
    stop: Arc<StopFlag>,
    thread: Option<JoinHandle<Option<Box<ServedQueue>>>>,
    /// The queue while no thread serves it: the host could not start one.
    idle: Option<Box<ServedQueue>>,
}

impl QueueThread {
    /// Starts a thread that serves `queue`.
    ///
    /// # Errors
    /// When the host cannot start a thread.
    pub fn spawn(queue: ServedQueue) -> io::Result<Self> {
        let mut thread = Self::paused(Box::new(queue));
        thread.start()?;
        Ok(thread)
    }

    /// Spawns a thread for the idle queue.
    fn start(&mut self) -> io::Result<()> {
        // A closure that could not be spawned is lost. So the thread gets the queue later.
        let (give, take) = mpsc::sync_channel(1);
        let stop = Arc::new(StopFlag::default());
        let theirs = Arc::clone(&stop);
        let body = move || take.recv().ok().and_then(|served| live(served, &theirs));
        let thread = threads::start(self.name.clone(), body)?;
        if let Some(served) = self.idle.take() {
            // Cannot fail: the thread waits for it.
            let _ = give.send(served);
        }
        (self.thread, self.stop) = (Some(thread), stop);
        Ok(())
    }

    /// The thread's name: "blk0-q0".
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks the thread to stop. It may not notice before [`Self::join`] interrupts its sleep.
    pub fn request_stop(&self) {
        self.stop.set();
    }

    /// Waits until the thread, which was asked to stop, has ended, but not longer than
    /// `deadline`. Returns whether it has ended. None waits without a limit.
    pub fn wait_stopped(&self, deadline: Option<Instant>) -> bool {
        self.thread.as_ref().is_none_or(|thread| kick::wait_stopped(thread, deadline))
    }

    /// Whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Continues to serve the queue: takes the request to stop back or, if the thread has
    /// stopped, starts another one at the same position. A queue whose thread has ended
    /// for another reason is not served again.
    ///
    /// # Errors
    /// When the host cannot start a thread. The queue keeps its position.
    pub fn resume(&mut self) -> io::Result<()> {
        if !self.stop.take_back() {
            return Ok(());
        }
        self.take_back();
        if self.idle.is_some() { self.start() } else { Ok(()) }
    }

    /// Takes the queue back from a thread that has stopped.
    fn take_back(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.idle = kick::join(thread).ok().flatten();
        }
    }

    /// Stops the thread at a request boundary, and returns the queue. None if the thread
    /// has ended for another reason, which it has reported to its owner.
    pub fn join(mut self) -> Option<Box<ServedQueue>> {
        self.request_stop();
        match self.thread.take() {
            Some(thread) => kick::join(thread).ok().flatten(),
            None => self.idle.take(),
        }
    }
}

impl Drop for QueueThread {
    fn drop(&mut self) {
        self.request_stop();
        if let Some(thread) = self.thread.take() {
            let _ = kick::join(thread);
        }
    }
}

/// The life of a queue thread. Returns the queue if the thread was asked to stop.
fn live(mut served: Box<ServedQueue>, stop: &StopFlag) -> Option<Box<ServedQueue>> {
    kick::accept();
    served.queue.observer().begin_thread();
    loop {
        match panic::catch_unwind(AssertUnwindSafe(|| served.serve(stop))) {
            Ok(Ok(()) | Err(ServeError::Again | ServeError::Interrupted)) => {
                if stop.obey() {
                    return Some(served);
                }
                continue; // The request to stop was taken back.
            }
            Ok(Err(ServeError::Guest(error))) => {
                served.queue.observer().broken();
                served.owner.needs_reset(&served.name, &error);
            }
            Ok(Err(ServeError::Host(error))) => {
                served.owner.failed(&served.name, &error.to_string());
            }
            Err(panic) => served.owner.failed(&served.name, &panic_message(panic.as_ref())),
        }
        return None;
    }
}

/// The message of a panic, for a log line.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("with no message"))
}

#[cfg(test)]
mod tests;
