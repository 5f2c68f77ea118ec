//! The errors of serving a queue, by whose fault they are. The queue thread
//! ([`crate::queue_thread`]) turns a [`GuestError`] into NEEDS_RESET, and an error of the
//! host into the end of the virtual machine. An error of one request (a bad sector) is
//! neither: the service answers the request with it.

use std::io;

/// A violation of a virtqueue's protocol by the guest. The queue is not served any more
/// until the driver resets the device (virtio 1.2, 2.1.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// The avail index is further ahead than the ring has entries (2.7.6.1).
    #[error("avail index moved from {from} to {to} on a queue of {size}")]
    AvailIndex {
        /// The device's position in the ring.
        from: u16,
        /// What the driver wrote.
        to: u16,
        /// Entries in the ring.
        size: u16,
    },
    /// A descriptor's number is not in its table.
    #[error("descriptor {index} of a table of {size}")]
    DescriptorIndex {
        /// What the driver wrote.
        index: u16,
        /// Entries in the table.
        size: u32,
    },
    /// A chain has more descriptors than the queue, for example because of a loop
    /// (2.7.5.3.1).
    #[error("descriptor chain longer than the queue's {size} entries")]
    ChainTooLong {
        /// Entries in the ring.
        size: u16,
    },
    /// A chain has more than 2^32 bytes (2.7.5.2).
    #[error("descriptor chain of more than 4 GiB")]
    ChainTooLarge,
    /// A buffer is not completely in RAM.
    #[error("buffer of {length} bytes at {address:#x} is not in guest memory")]
    BufferAddress {
        /// Guest physical address.
        address: u64,
        /// Bytes.
        length: u32,
    },
    /// A buffer for the device follows one for the driver (2.7.4.2).
    #[error("device-readable descriptor after a device-writable one")]
    ReadableAfterWritable,
    /// An indirect descriptor without the feature, with NEXT, in an indirect table, or with
    /// a bad length (2.7.5.3.1).
    #[error("indirect descriptor {0}")]
    Indirect(&'static str),
    /// A ring is not completely in RAM, or misaligned (2.7.1).
    #[error("{ring} at {address:#x} is misaligned or not in guest memory")]
    Ring {
        /// The part: "descriptor table", "avail ring" or "used ring".
        ring: &'static str,
        /// Guest physical address.
        address: u64,
    },
    /// A queue's size is not a power of two, or too large (2.7).
    #[error("queue of {0} entries")]
    QueueSize(u16),
    /// The request has a buffer in a direction that the queue does not have.
    #[error("{0}")]
    Direction(&'static str),
    /// The driver uses a queue that belongs to a feature that it has not accepted.
    #[error("a queue that does not exist with the negotiated features")]
    NoSuchQueue,
    /// The request has no room for the shortest answer.
    #[error("{0}")]
    NoRoom(&'static str),
}

/// Why a service could not serve a request.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The guest broke the protocol: the device needs a reset.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The request is not finished, though nothing failed: there is more of it to do, or
    /// what was read for it was dropped. The thread looks whether it has to stop. If not,
    /// it calls `serve` again with the request as it was left. A service that does not tell a
    /// signal from unfinished work (block) returns this for both.
    #[error("not finished")]
    Again,
    /// A signal interrupted a system call (EINTR), possibly because the thread has to
    /// stop. The thread proceeds as for [`Self::Again`].
    #[error("interrupted")]
    Interrupted,
    /// The host failed: the virtual machine ends.
    #[error(transparent)]
    Host(io::Error),
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Interrupted => Self::Interrupted,
            _ => Self::Host(error),
        }
    }
}
