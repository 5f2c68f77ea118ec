//! What can go wrong while a queue is served, by who is to blame. The queue
//! thread ([`crate::queue_thread`]) turns a [`GuestError`] into NEEDS_RESET and
//! a host error into the end of the virtual machine; an error of one request
//! (a bad sector) is neither: it is answered inside the request.

use std::io;

/// The guest broke the protocol of a virtqueue. That queue is served no more
/// until the driver resets the device (virtio 1.2, 2.1.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// 2.7.6.1: the index only grows, and never past the ring.
    #[error("avail index moved from {from} to {to} on a queue of {size}")]
    AvailIndex {
        /// Where the device stands.
        from: u16,
        /// What the driver wrote.
        to: u16,
        /// Entries in the ring.
        size: u16,
    },
    /// A descriptor number beyond its table.
    #[error("descriptor {index} of a table of {size}")]
    DescriptorIndex {
        /// What the driver wrote.
        index: u16,
        /// Entries in the table.
        size: u32,
    },
    /// 2.7.5.3.1: a chain is no longer than the queue, so it has no loop.
    #[error("descriptor chain longer than the queue's {size} entries")]
    ChainTooLong {
        /// Entries in the ring.
        size: u16,
    },
    /// 2.7.5.2: no chain holds more than 2^32 bytes.
    #[error("descriptor chain of more than 4 GiB")]
    ChainTooLarge,
    /// A buffer that is not wholly in RAM.
    #[error("buffer of {length} bytes at {address:#x} is not in guest memory")]
    BufferAddress {
        /// Guest physical address.
        address: u64,
        /// Bytes.
        length: u32,
    },
    /// 2.7.4.2: what the device reads comes before what it writes.
    #[error("device-readable descriptor after a device-writable one")]
    ReadableAfterWritable,
    /// 2.7.5.3.1: INDIRECT needs its feature, and nests or continues never.
    #[error("indirect descriptor {0}")]
    Indirect(&'static str),
    /// 2.7.1: a ring outside RAM or misaligned.
    #[error("{ring} at {address:#x} is misaligned or not in guest memory")]
    Ring {
        /// Which part: "descriptor table", "avail ring", "used ring".
        ring: &'static str,
        /// Guest physical address.
        address: u64,
    },
    /// 2.7: a power of two, at most 32768 and the device's own limit.
    #[error("queue of {0} entries")]
    QueueSize(u16),
    /// The request has a part that this queue has no use for.
    #[error("{0}")]
    Direction(&'static str),
    /// The driver uses a queue of features that it has not accepted.
    #[error("a queue that does not exist with the negotiated features")]
    NoSuchQueue,
    /// The request has no room for the least of answers.
    #[error("{0}")]
    NoRoom(&'static str),
}

/// Why a service could not serve a request.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The guest's fault: NEEDS_RESET.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The request is not finished, though nothing failed: there is more of it to do, or
    /// what was read for it was dropped. The thread looks whether it has to stop. If not,
    /// it calls `serve` again with the request as it was left.
    #[error("not finished")]
    Again,
    /// A signal interrupted a system call (EINTR), possibly because the thread has to
    /// stop. The thread proceeds as for [`Self::Again`].
    #[error("interrupted")]
    Interrupted,
    /// The host's fault: the virtual machine ends.
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
