//! All that the author of a device writes: a [`Device`] says what the driver finds, and a
//! [`Service`] serves the requests of one queue. [`crate::queue_thread`] runs the
//! services, and [`crate::virtio_pci`] connects the device to its driver.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use serde_json::Value;

use crate::error::ServeError;
use crate::request::Request;
use crate::state::{self, StateError};

/// One virtqueue of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSpec {
    /// The second part of the thread's name, after the device's name: "rx" makes
    /// "con0-rx".
    pub name: String,
    /// The most entries the driver may use; a power of two.
    pub size: u16,
}

impl QueueSpec {
    /// A queue called `name` of at most `size` entries.
    #[must_use]
    pub fn new(name: impl Into<String>, size: u16) -> Self {
        Self { name: name.into(), size }
    }
}

/// A field of the device-specific configuration, for a snapshot: see
/// [`Device::config_fields`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigField {
    /// The name of the field in the specification: "capacity".
    pub name: &'static str,
    /// The bytes of the field.
    pub at: Range<usize>,
    /// The field may change while a driver uses the device, which gets a configuration
    /// interrupt then.
    pub changes: bool,
}

impl ConfigField {
    /// A field that stays as the driver has found it.
    #[must_use]
    pub const fn fixed(name: &'static str, at: Range<usize>) -> Self {
        Self { name, at, changes: false }
    }

    /// A field that may change at any time.
    #[must_use]
    pub const fn variable(name: &'static str, at: Range<usize>) -> Self {
        Self { name, at, changes: true }
    }
}

/// A virtio device as its driver finds it, before any queue runs.
pub trait Device: Send {
    /// The device type of virtio 1.2, section 5.
    fn id(&self) -> u16;

    /// The queues, in the order of the specification. This is called once.
    fn queues(&self) -> Vec<QueueSpec>;

    /// Feature bits beyond those of the ring and the transport.
    fn features(&self) -> u64 {
        0
    }

    /// The present device-specific configuration, which the driver can only read.
    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The fields of [`Self::config`] that the restoring of a snapshot needs: it refuses a
    /// device on which any byte differs from what the driver has seen, except in the fields
    /// that may change.
    fn config_fields(&self) -> &'static [ConfigField] {
        &[]
    }

    /// Prepares the device for a driver that has set DRIVER_OK and accepted these features.
    /// This is called before any [`Self::service`], while no queue thread runs. Restoring a
    /// snapshot calls it for the driver that the snapshot has.
    ///
    /// # Errors
    /// Errors of the host; they end the machine.
    fn begin(&self, _accepted: u64) -> io::Result<()> {
        Ok(())
    }

    /// Makes the service of one queue. Every DRIVER_OK gets a new one, because a device
    /// that was reset keeps nothing. `accepted` are the negotiated feature bits.
    ///
    /// # Errors
    /// Errors of the host, if it lacks what the service needs; they end the machine.
    fn service(&self, queue: usize, accepted: u64) -> io::Result<Box<dyn Service>>;

    /// What the device itself keeps while a driver uses it, beside its services: see
    /// [`Service::state`]. This is called while no queue thread runs.
    ///
    /// # Errors
    /// When the state cannot be expressed.
    fn state(&self) -> Result<Value, StateError> {
        Ok(Value::Null)
    }

    /// Sets what [`Self::state`] has returned. This is called after [`Self::begin`] and
    /// before any [`Self::service`].
    ///
    /// # Errors
    /// When this device cannot have such a state, or errors of the host.
    fn restore(&self, state: &Value) -> Result<(), StateError> {
        state::expect_nothing(state)
    }
}

/// Serves the requests of one queue, one at a time.
pub trait Service: Send {
    /// Serves one request: takes bytes from [`Request::from_guest`] and puts the answer
    /// into [`Request::to_guest`]. This may block in a system call that a signal
    /// interrupts. After [`ServeError::Again`] and [`ServeError::Interrupted`] the thread
    /// calls it again with the rest of the request, unless the thread has to stop: see
    /// [`Self::requeue`].
    ///
    /// # Errors
    /// Those of [`ServeError`], by whose fault it is.
    fn serve(&mut self, request: &mut Request<'_>) -> Result<(), ServeError>;

    /// Learns that the thread stops before a request is finished. After a pause, another
    /// thread serves the request from its beginning. A service that must not do a part of
    /// it twice remembers that here.
    fn requeue(&mut self, _request: &Request<'_>) {}

    /// What the service keeps at a request boundary: all that a new service of another
    /// launcher needs to continue. What was put back is in guest memory. Make the value
    /// with [`crate::state::to_value`].
    ///
    /// # Errors
    /// When the state cannot be expressed.
    fn state(&self) -> Result<Value, StateError> {
        Ok(Value::Null)
    }

    /// Sets what [`Self::state`] has returned. The service is new.
    ///
    /// # Errors
    /// When this service cannot have such a state.
    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        state::expect_nothing(state)
    }

    /// The descriptor that the queue's input comes from, if the driver discards input that
    /// comes too early. `serve` is not called before the driver is ready, see
    /// [`crate::queue::Virtqueue::probe_driver`]. Only the console's input needs this.
    fn probes_driver(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The input of a queue, if it comes in pieces that may need several chains. `serve`
    /// gets as many chains as the largest piece needs or, if the driver has offered fewer,
    /// all of them when a piece has arrived. `serve` takes one piece, and the chains that
    /// it filled go back to the driver. Only the network's receive queues need this.
    fn gathers(&self) -> Option<Input<'_>> {
        None
    }

    /// Whether serving this request may take long: because it waits for a tap or a
    /// keyboard, or for a slow disk. If so, the driver is interrupted for the requests that
    /// are finished before this one begins.
    fn may_block(&self, _request: &Request<'_>) -> bool {
        false
    }
}

/// The source of a queue's input, see [`Service::gathers`].
#[derive(Debug)]
pub struct Input<'a> {
    /// Bytes in the largest piece.
    pub largest: u32,
    /// The descriptor that the input is read from.
    pub from: BorrowedFd<'a>,
}
