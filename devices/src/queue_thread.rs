//! One thread for one virtqueue, from DRIVER_OK to the reset. Started and
//! stopped by [`crate::virtio_pci`]; sleeps in [`Virtqueue::wait_for_request`] or
//! in its [`Service`]. It ends in three ways and no other: told to; the guest
//! broke the protocol (the device needs a reset, everything else lives on); the
//! host failed or the thread panicked (the machine ends).

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crate::Memory;
use crate::device::Service;
use crate::error::{GuestError, ServeError};
use crate::kick;
use crate::queue::{QueuePosition, Virtqueue};
use crate::request::Request;

/// Enough for every service; a queue thread has no deep calls.
const STACK: usize = 128 << 10;

/// Who hears of it when a queue thread ends without being told to.
pub trait Owner: Send + Sync {
    /// The guest broke the protocol of this queue.
    fn needs_reset(&self, thread: &str, error: &GuestError);

    /// The guest has opened its side of the device, see [`Service::knocks`].
    fn opened(&self);

    /// The host failed, or the thread panicked.
    fn failed(&self, thread: &str, why: &str);
}

/// A queue being served. Dropping it stops the thread.
#[derive(Debug)]
pub struct QueueThread {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<QueuePosition>>,
}

impl QueueThread {
    /// Begin to serve `queue`.
    ///
    /// # Errors
    /// When the host has no thread to give.
    pub fn spawn(
        name: String,
        memory: Memory,
        mut queue: Virtqueue,
        mut service: Box<dyn Service>,
        owner: Arc<dyn Owner>,
    ) -> io::Result<Self> {
        kick::install();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let body = move || {
            kick::accept();
            let name = std::thread::current().name().unwrap_or_default().to_string();
            let served = panic::catch_unwind(AssertUnwindSafe(|| {
                open(&memory, &mut queue, service.as_ref(), owner.as_ref(), &told)?;
                serve_queue(&memory, &mut queue, service.as_mut(), &told)
            }));
            match served {
                Ok(Ok(()) | Err(ServeError::Interrupted)) => {}
                Ok(Err(ServeError::Guest(error))) => owner.needs_reset(&name, &error),
                Ok(Err(ServeError::Host(error))) => owner.failed(&name, &error.to_string()),
                Err(panic) => owner.failed(&name, &panic_message(panic.as_ref())),
            }
            queue.position()
        };
        let thread = Builder::new().name(name).stack_size(STACK).spawn(body)?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Its name: "blk0-q0".
    pub fn name(&self) -> &str {
        self.thread.as_ref().and_then(|thread| thread.thread().name()).unwrap_or_default()
    }

    /// Tell the thread to stop. It may take until [`Self::join`] to notice.
    pub fn tell(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether the thread, having been told, has ended by `until`. None is to
    /// wait however long it takes.
    pub fn stops(&self, until: Option<Instant>) -> bool {
        self.thread.as_ref().is_none_or(|thread| kick::stops(thread, until))
    }

    /// Stop the thread at a request boundary, and get to know which. None if
    /// it panicked, which its owner has been told.
    pub fn join(mut self) -> Option<QueuePosition> {
        self.tell();
        kick::join(self.thread.take()?).ok()
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

/// Before anything is served: see that the guest is ready for it.
fn open(
    memory: &Memory,
    queue: &mut Virtqueue,
    service: &dyn Service,
    owner: &dyn Owner,
    stop: &AtomicBool,
) -> Result<(), ServeError> {
    if let Some(input) = service.knocks() {
        queue.knock(memory, &mut Request::default(), input, stop)?;
        owner.opened();
    }
    Ok(())
}

/// The life of a queue thread, at whose end nothing is taken and not used.
fn serve_queue(
    memory: &Memory,
    queue: &mut Virtqueue,
    service: &mut dyn Service,
    stop: &AtomicBool,
) -> Result<(), ServeError> {
    let mut request = Request::default();
    let end = serve_requests(memory, queue, &mut request, service, stop);
    queue.put_back(&mut request);
    end
}

/// Everything that a device need not think about.
fn serve_requests<'m>(
    memory: &'m Memory,
    queue: &mut Virtqueue,
    request: &mut Request<'m>,
    service: &mut dyn Service,
    stop: &AtomicBool,
) -> Result<(), ServeError> {
    while !stop.load(Ordering::Acquire) {
        queue.wait_for_request(memory, request, stop)?;
        if service.waits(request) {
            queue.signal(memory)?;
        }
        let gathered = match service.gathers() {
            Some(input) => queue.gather(memory, request, &input),
            None => Ok(()),
        };
        match gathered.and_then(|()| service.serve(request)) {
            Ok(()) => {}
            Err(ServeError::Interrupted) => continue,
            Err(other) => return Err(other),
        }
        queue.add_used(memory, request)?;
    }
    Ok(())
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
