//! virtio devices as the guest sees them. This crate knows nothing of KVM, of the command
//! line or of the terminal; the launcher gives it guest memory, open files and an
//! [`interrupt::Machine`] for interrupts.
//!
//! To follow a byte from the guest to the outside, read in this order:
//!
//! 1. [`pci`]: the bus; the driver finds the device and its registers.
//! 2. [`virtio_pci`]: the registers; DRIVER_OK starts the threads, 0 stops them.
//! 3. [`queue_thread`]: the life of a thread that serves one queue.
//! 4. [`queue`]: the rings; the thread sleeps here until the guest notifies it.
//! 5. [`request`]: one request as two streams of bytes.
//! 6. [`console`], [`block`], [`net`], [`rng`]: the devices. A new device is one more of these.
//! 7. [`interrupt`]: the way back to the guest.
//!
//! [`state`] is what a snapshot has of a device. [`observer`], [`stats`] and [`trace`] show what a queue does.

#[expect(unsafe_code, reason = "all FFI lives here")]
mod sys;

pub mod block;
mod config_space;
pub mod console;
pub mod device;
pub mod error;
pub mod interrupt;
pub mod kick;
pub mod log_interval;
mod msix;
pub mod mutex;
pub mod net;
pub mod number;
pub mod observer;
pub mod pci;
pub mod queue;
pub mod queue_thread;
mod registers;
pub mod request;
pub mod rng;
pub mod state;
pub mod stats;
pub mod status;
pub mod stop;
pub mod threads;
pub mod trace;
pub mod virtio_pci;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// Guest memory: RAM only, in as many ranges as the machine has.
pub type Memory = vm_memory::GuestMemoryMmap<()>;
