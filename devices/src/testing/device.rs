//! A device whose queues all do what one closure says.

use std::io;
use std::sync::Arc;

use crate::device::{Device, QueueSpec, Service};
use crate::error::ServeError;
use crate::request::Request;

/// A feature bit of [`FakeDevice`].
pub const FEATURE: u64 = 1 << 5;

/// Two queues, 12 bytes of configuration, one feature.
pub struct FakeDevice<Serve> {
    serve: Arc<Serve>,
    may_block: bool,
}

impl<Serve> FakeDevice<Serve>
where
    Serve: Fn(usize, &mut Request<'_>) -> Result<(), ServeError> + Send + Sync + 'static,
{
    /// `serve` is given the queue's number.
    pub fn new(serve: Serve) -> Self {
        Self { serve: Arc::new(serve), may_block: false }
    }

    /// A device whose services wait for the world outside.
    pub fn waiting(serve: Serve) -> Self {
        Self { may_block: true, ..Self::new(serve) }
    }
}

/// A device that answers each request with its own bytes.
pub fn echo() -> impl Device {
    FakeDevice::new(|_, request| {
        answer(request);
        Ok(())
    })
}

/// Answer a request with its own bytes.
pub fn answer(request: &mut Request<'_>) {
    let mut bytes = vec![0; request.from_guest.len().try_into().unwrap()];
    request.from_guest.peek(&mut bytes);
    request.from_guest.consume(bytes.len());
    request.to_guest.put(&bytes);
}

impl<Serve> Device for FakeDevice<Serve>
where
    Serve: Fn(usize, &mut Request<'_>) -> Result<(), ServeError> + Send + Sync + 'static,
{
    fn id(&self) -> u16 {
        0x2a
    }

    fn queues(&self) -> Vec<QueueSpec> {
        vec![QueueSpec::new("one", 128), QueueSpec::new("two", 64)]
    }

    fn features(&self) -> u64 {
        FEATURE
    }

    fn config(&self) -> Vec<u8> {
        b"twelve bytes".to_vec()
    }

    fn service(&self, queue: usize, _accepted: u64) -> io::Result<Box<dyn Service>> {
        let serve = Arc::clone(&self.serve);
        Ok(Box::new(FakeService { serve, queue, may_block: self.may_block }))
    }
}

struct FakeService<Serve> {
    serve: Arc<Serve>,
    queue: usize,
    may_block: bool,
}

impl<Serve> Service for FakeService<Serve>
where
    Serve: Fn(usize, &mut Request<'_>) -> Result<(), ServeError> + Send + Sync,
{
    fn serve(&mut self, request: &mut Request<'_>) -> Result<(), ServeError> {
        (self.serve)(self.queue, request)
    }

    fn may_block(&self, _request: &Request<'_>) -> bool {
        self.may_block
    }
}
