//! The entropy device (virtio 1.2, 5.4). Its source is a file that the launcher opened:
//! /dev/urandom, or what the user named. The kernel fills guest memory with one readv(2).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use crate::device::{Device, QueueSpec, Service};
use crate::error::ServeError;
use crate::log_interval::LogInterval;
use crate::mutex;
use crate::number::u16_constant;
use crate::request::Request;
use crate::state::StateError;
use crate::sys;

/// The most bytes of an answer. A request can have up to 4 GiB of overlapping buffers, and
/// the device may fill fewer (5.4.6.2).
const LIMIT: u32 = 64 << 10;

/// An entropy device.
pub struct Rng {
    /// The source of the bytes. A reset does not rewind it.
    source: File,
    /// The interval between two log lines about the source: a guest can reset the device as
    /// often as it likes.
    interval: Arc<Mutex<LogInterval>>,
}

impl Rng {
    /// A device that reads random numbers from `source`.
    #[must_use]
    pub fn new(source: File) -> Self {
        Self { source, interval: Arc::default() }
    }
}

impl Device for Rng {
    fn id(&self) -> u16 {
        const { u16_constant(VIRTIO_ID_RNG) }
    }

    fn queues(&self) -> Vec<QueueSpec> {
        vec![QueueSpec::new("req", 64)]
    }

    fn service(&self, _queue: usize, _accepted: u64) -> io::Result<Box<dyn Service>> {
        let (source, interval) = (self.source.try_clone()?, Arc::clone(&self.interval));
        Ok(Box::new(RngRequests { source, exhausted: false, interval }))
    }
}

/// The service of "rng0-req".
struct RngRequests {
    source: File,
    /// The source has ended or failed.
    exhausted: bool,
    interval: Arc<Mutex<LogInterval>>,
}

impl Service for RngRequests {
    fn serve(&mut self, request: &mut Request<'_>) -> Result<(), ServeError> {
        request.expect_nothing_from_guest()?;
        request.to_guest.truncate(LIMIT);
        if request.to_guest.is_empty() {
            return Ok(());
        }
        if self.exhausted {
            // An answer has at least one byte (5.4.6.2), and some drivers would repeat a
            // request at once after an empty answer. So the device does not answer.
            sys::pause();
            return Err(ServeError::Interrupted);
        }
        let why = match request.to_guest.read_from(self.source.as_fd()) {
            Ok(0) => "it has ended".to_string(),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error.into()),
            Err(error) => error.to_string(),
        };
        let mut interval = mutex::lock(&self.interval);
        if interval.is_due(Instant::now()) {
            log::warn!("source of random numbers: {why}: the guest gets no more of them");
        }
        drop(interval);
        self.exhausted = true;
        request.count_error();
        Err(ServeError::Again)
    }

    /// A source that has ended may be another one after a restore, so it is read again.
    fn state(&self) -> Result<Value, StateError> {
        let Self { source: _, exhausted: _, interval: _ } = self;
        Ok(Value::Null)
    }

    fn may_block(&self, _request: &Request<'_>) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
