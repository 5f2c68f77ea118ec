//! A virtqueue with everything that a thread needs to serve it. When the thread is asked
//! to stop, it hands this back at a request boundary: the queue with its position, and
//! the service with its state. Another thread can continue from there.

use std::sync::Arc;

use super::Owner;
use crate::Memory;
use crate::device::Service;
use crate::error::ServeError;
use crate::observer::Timing;
use crate::queue::{DriverReadiness, QueuePosition, Virtqueue};
use crate::request::Request;
use crate::stop::StopFlag;

/// A virtqueue and the service that serves it.
pub struct ServedQueue {
    pub(super) name: String,
    pub(super) memory: Memory,
    pub(super) queue: Virtqueue,
    pub(super) service: Box<dyn Service>,
    pub(super) owner: Arc<dyn Owner>,
    pub(super) readiness: DriverReadiness,
}

impl ServedQueue {
    /// A queue and a service that have served nothing yet. `name` is that of the thread.
    #[must_use]
    pub fn new(
        name: String,
        memory: Memory,
        queue: Virtqueue,
        service: Box<dyn Service>,
        owner: Arc<dyn Owner>,
    ) -> Self {
        Self { name, memory, queue, service, owner, readiness: DriverReadiness::default() }
    }

    /// How far the queue has been served.
    #[must_use]
    pub fn position(&self) -> QueuePosition {
        self.queue.position()
    }

    /// Serves the queue until the thread is asked to stop. On return, every request that
    /// was taken from the ring has been used or put back.
    pub(super) fn serve(&mut self, stop: &StopFlag) -> Result<(), ServeError> {
        self.wait_driver_ready(stop)?;
        let Self { memory, queue, service, .. } = self;
        let mut request = Request::default();
        let end = serve_requests(memory, queue, &mut request, service.as_mut(), stop);
        if request.chains() > 0 {
            service.requeue(&request);
            queue.requeue(&mut request);
        }
        end
    }

    /// Waits until the driver can take input, if the service asks for that.
    fn wait_driver_ready(&mut self, stop: &StopFlag) -> Result<(), ServeError> {
        let Self { memory, queue, service, readiness, owner, .. } = self;
        if let (Some(input), true) = (service.probes_driver(), *readiness != DriverReadiness::Ready)
        {
            queue.probe_driver(memory, input, readiness, stop)?;
            owner.driver_ready();
        }
        Ok(())
    }
}

/// The loop of a queue thread: takes requests from the queue, lets `service` serve them
/// and hands them back to the driver, until the thread is asked to stop.
fn serve_requests<'m>(
    memory: &'m Memory,
    queue: &mut Virtqueue,
    request: &mut Request<'m>,
    service: &mut dyn Service,
    stop: &StopFlag,
) -> Result<(), ServeError> {
    let mut timing = Timing::new(Arc::clone(queue.observer()));
    while !stop.is_set() {
        queue.wait_for_request(memory, request, stop)?;
        if service.may_block(request) {
            queue.signal(memory)?;
        }
        if let Some(input) = service.gathers() {
            queue.gather(memory, request, &input, stop)?;
        }
        timing.call_begins();
        let served = service.serve(request);
        timing.call_ended(request);
        match served {
            Ok(()) => timing.request_ended(queue.add_used(memory, request)?),
            Err(ServeError::Again | ServeError::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
