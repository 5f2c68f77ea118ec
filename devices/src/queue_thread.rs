//! One thread for one virtqueue, from DRIVER_OK to the reset, or to a pause, after
//! which another one goes on. The thread sleeps in
//! [`crate::queue::Virtqueue::wait_for_request`] or in its [`Service`]. It ends in
//! three ways and no other: told to; the guest broke the protocol (the device needs a
//! reset, everything else lives on); the host failed or the thread panicked (the
//! machine ends). What it does until then is in [`Work`].

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::Memory;
use crate::device::Service;
use crate::error::{GuestError, ServeError};
use crate::kick;
use crate::queue::{Opening, Virtqueue};
use crate::stop::StopFlag;
use crate::threads;

mod work;

pub use work::Work;

/// Who hears of it when a queue thread ends without being told to.
pub trait Owner: Send + Sync {
    /// The guest broke the protocol of this queue.
    fn needs_reset(&self, thread: &str, error: &GuestError);

    /// The guest has opened its side of the device, see [`Service::knocks`].
    fn opened(&self);

    /// The host failed, or the thread panicked.
    fn failed(&self, thread: &str, why: &str);
}

/// A queue being served, or standing still. Dropping it stops the thread.
pub struct QueueThread {
    name: String,
    stop: Arc<StopFlag>,
    thread: Option<JoinHandle<Option<Box<Work>>>>,
    /// What no thread has, because the host had none to give.
    idle: Option<Box<Work>>,
}

impl QueueThread {
    /// Begin to serve `queue`.
    ///
    /// # Errors
    /// When the host has no thread to give.
    pub fn spawn(
        name: String,
        memory: Memory,
        queue: Virtqueue,
        service: Box<dyn Service>,
        owner: Arc<dyn Owner>,
    ) -> io::Result<Self> {
        kick::install();
        let opening = Opening::default();
        let work = Work { name: name.clone(), memory, queue, service, owner, opening };
        let idle = Some(Box::new(work));
        let mut thread = Self { name, stop: Arc::default(), thread: None, idle };
        thread.start()?;
        Ok(thread)
    }

    /// Have a thread do what nobody does.
    fn start(&mut self) -> io::Result<()> {
        // Given when the thread is there: what it was made with is lost if it is not.
        let (give, take) = mpsc::sync_channel(1);
        let stop = Arc::new(StopFlag::default());
        let theirs = Arc::clone(&stop);
        let body = move || take.recv().ok().and_then(|work| live(work, &theirs));
        let thread = threads::start(self.name.clone(), body)?;
        if let Some(work) = self.idle.take() {
            // It waits for it.
            let _ = give.send(work);
        }
        (self.thread, self.stop) = (Some(thread), stop);
        Ok(())
    }

    /// Its name: "blk0-q0".
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tell the thread to stop. It may take until [`Self::join`] to notice.
    pub fn tell(&self) {
        self.stop.set();
    }

    /// Whether the thread, having been told, has ended by `until`. None is to
    /// wait however long it takes.
    pub fn stops(&self, until: Option<Instant>) -> bool {
        self.thread.as_ref().is_none_or(|thread| kick::stops(thread, until))
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Go on: the request to stop is taken back or, if the thread has stopped, another
    /// one begins where it stood. One that ended by itself stays so.
    ///
    /// # Errors
    /// When the host has no thread to give; nothing is lost.
    pub fn resume(&mut self) -> io::Result<()> {
        if !self.stop.take_back() {
            return Ok(());
        }
        if let Some(thread) = self.thread.take() {
            self.idle = kick::join(thread).ok().flatten();
        }
        if self.idle.is_some() { self.start() } else { Ok(()) }
    }

    /// Stop the thread at a request boundary, and have what it worked on. None if
    /// it has ended by itself, which its owner has been told.
    pub fn join(mut self) -> Option<Box<Work>> {
        self.tell();
        match self.thread.take() {
            Some(thread) => kick::join(thread).ok().flatten(),
            None => self.idle.take(),
        }
    }
}

impl Drop for QueueThread {
    fn drop(&mut self) {
        self.tell();
        if let Some(thread) = self.thread.take() {
            let _ = kick::join(thread);
        }
    }
}

/// The life of a queue thread. What it worked on, if it was told to stop.
fn live(mut work: Box<Work>, stop: &StopFlag) -> Option<Box<Work>> {
    kick::accept();
    work.queue.observer().begin_thread();
    loop {
        match panic::catch_unwind(AssertUnwindSafe(|| work.serve(stop))) {
            Ok(Ok(()) | Err(ServeError::Again | ServeError::Interrupted)) => {
                if stop.obey() {
                    return Some(work);
                }
                continue; // It was taken back.
            }
            Ok(Err(ServeError::Guest(error))) => {
                work.queue.observer().broken();
                work.owner.needs_reset(&work.name, &error);
            }
            Ok(Err(ServeError::Host(error))) => work.owner.failed(&work.name, &error.to_string()),
            Err(panic) => work.owner.failed(&work.name, &panic_message(panic.as_ref())),
        }
        return None;
    }
}

/// What a panic said.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("with no message"))
}

#[cfg(test)]
mod tests;
