//! What a queue thread works on, and hands back at a request boundary when it is
//! told to stop: the queue and how far it has been served, and the service with all
//! that it knows. Another thread can go on with it.

use std::sync::Arc;

use super::Owner;
use crate::Memory;
use crate::device::Service;
use crate::error::ServeError;
use crate::observer::Timing;
use crate::queue::{Opening, QueuePosition, Virtqueue};
use crate::request::Request;
use crate::stop::StopFlag;

/// A queue, and who serves it.
pub struct Work {
    pub(super) name: String,
    pub(super) memory: Memory,
    pub(super) queue: Virtqueue,
    pub(super) service: Box<dyn Service>,
    pub(super) owner: Arc<dyn Owner>,
    pub(super) opening: Opening,
}

impl Work {
    /// How far the queue has been served.
    #[must_use]
    pub fn position(&self) -> QueuePosition {
        self.queue.position()
    }

    /// Begin, or go on, until told to stop. At the end nothing is taken and not used.
    pub(super) fn serve(&mut self, stop: &StopFlag) -> Result<(), ServeError> {
        self.open(stop)?;
        let Self { memory, queue, service, .. } = self;
        let mut request = Request::default();
        let end = serve_requests(memory, queue, &mut request, service.as_mut(), stop);
        if request.chains() > 0 {
            service.put_back(&request);
            queue.put_back(&mut request);
        }
        end
    }

    /// Before anything is served: see that the guest is ready for it.
    fn open(&mut self, stop: &StopFlag) -> Result<(), ServeError> {
        let Self { memory, queue, service, opening, owner, .. } = self;
        if let (Some(input), true) = (service.knocks(), *opening != Opening::Open) {
            queue.knock(memory, input, opening, stop)?;
            owner.opened();
        }
        Ok(())
    }
}

/// Take requests from the queue, have `service` serve them and hand them back, until the
/// thread has to stop. This is all that a device's author need not write.
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
        if service.waits(request) {
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
