//! What the author of a device writes, and nothing else: a [`Device`] says what
//! the driver finds, a [`Service`] serves the requests of one queue. How they
//! come to run is in [`crate::queue_thread`]; how the driver reaches them, in
//! [`crate::virtio_pci`].

use std::io;
use std::os::fd::BorrowedFd;

use crate::error::ServeError;
use crate::request::Request;

/// One virtqueue of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSpec {
    /// What the thread is called, after the device's name: "rx" makes "con0-rx".
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

/// A virtio device as its driver finds it, before any queue runs.
pub trait Device: Send {
    /// The device type of virtio 1.2, section 5.
    fn id(&self) -> u32;

    /// The queues, in the order of the specification; asked for once.
    fn queues(&self) -> Vec<QueueSpec>;

    /// Feature bits beyond those of the ring and the transport.
    fn features(&self) -> u64 {
        0
    }

    /// The device-specific configuration, as it is now; read-only to the driver.
    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    /// DRIVER_OK: a driver is there, with these features, and its queues are served from
    /// here on. Called before any [`Self::service`], while no queue thread runs.
    ///
    /// # Errors
    /// Of the host: the machine ends.
    fn begin(&self, _accepted: u64) -> io::Result<()> {
        Ok(())
    }

    /// A service for one queue, made afresh at every DRIVER_OK: a device that
    /// was reset keeps nothing. `accepted` are the negotiated feature bits.
    ///
    /// # Errors
    /// Of the host, if it lacks what the service needs: the machine ends.
    fn service(&self, queue: usize, accepted: u64) -> io::Result<Box<dyn Service>>;
}

/// What one queue thread does, one request at a time.
pub trait Service: Send {
    /// Serve one request: take from [`Request::from_guest`], put into
    /// [`Request::to_guest`]. It may block, in a system call that a signal
    /// interrupts; after [`ServeError::Again`] and [`ServeError::Interrupted`] it is called
    /// again with the rest of the request, unless the thread is to stop: see
    /// [`Self::requeue`].
    ///
    /// # Errors
    /// See [`ServeError`]: the guest's or the host's fault.
    fn serve(&mut self, request: &mut Request<'_>) -> Result<(), ServeError>;

    /// The thread stops, and this request, of which a part may have been served, comes
    /// again from its beginning when another thread goes on (after a pause). What is
    /// not to be done twice is for the service to remember; it begins anew unless it does.
    fn requeue(&mut self, _request: &Request<'_>) {}

    /// For a queue whose driver drops what comes too early: the descriptor its
    /// input comes from. `serve` is first called when the guest is ready for
    /// it, see [`crate::queue::Virtqueue::probe_driver`].
    fn probes_driver(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// For a queue whose input comes in pieces that may need several chains:
    /// `serve` is given as many as the largest piece needs, or as there are
    /// when a piece has come. It takes one piece, and those it filled go back.
    fn gathers(&self) -> Option<Input<'_>> {
        None
    }

    /// Whether serving this request may take its time: it waits for the world
    /// outside (a tap, a keyboard), or for a slow disk. The guest then hears of
    /// every request finished so far before this one is begun.
    fn may_block(&self, _request: &Request<'_>) -> bool {
        false
    }
}

/// Where a queue's input comes from, see [`Service::gathers`].
#[derive(Debug)]
pub struct Input<'a> {
    /// Bytes in the largest piece.
    pub largest: u32,
    /// What it is read from.
    pub from: BorrowedFd<'a>,
}
