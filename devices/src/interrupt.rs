//! Interrupts as a device sees them: an eventfd for each MSI-X vector, which the virtual
//! machine has wired to the guest's interrupt controller (KVM irqfd). A queue thread
//! writes to it, without an exit and without a lock. While a vector is masked, its
//! eventfd is not connected, and the eventfd's counter is the pending bit.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vmm_sys_util::eventfd::EventFd;

use crate::observer::Observer;

/// The message of an MSI-X vector (PCI 3.0, 6.8.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MsiMessage {
    /// The address. On x86 it is 0xfee..... with the destination CPU.
    pub address: u64,
    /// The data. On x86 they are the vector number and the delivery mode.
    pub data: u32,
}

/// The services of the virtual machine for its devices.
pub trait Machine: Send + Sync {
    /// Returns a number for a new interrupt line, unique in this machine.
    fn new_line(&self) -> u32;

    /// Connects a line: from now on, a write to `event` sends `message`. If the counter of
    /// `event` is not 0, the message is sent at once.
    ///
    /// # Errors
    /// When the host cannot route `message`.
    fn connect(&self, line: u32, event: &EventFd, message: MsiMessage) -> io::Result<()>;

    /// Disconnects a line: from now on, the counter of `event` remembers writes.
    fn disconnect(&self, line: u32, event: &EventFd);

    /// Wires a doorbell: from now on, a write to guest physical `address` signals it.
    ///
    /// # Errors
    /// When the host cannot wire the doorbell.
    fn wire(&self, address: u64, doorbell: &EventFd) -> io::Result<()>;

    /// Ends the wiring of a doorbell: writes to `address` come to the device.
    fn unwire(&self, address: u64, doorbell: &EventFd);

    /// Returns the observer of the queue whose thread is called `thread`. A queue has one
    /// observer as long as the machine exists.
    fn observer(&self, _thread: &str) -> Arc<Observer> {
        Arc::default()
    }

    /// Reports that the host failed in the thread called `thread`, which ends the machine.
    fn failed(&self, thread: &str, why: &str);
}

/// The interrupt of one queue, or of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// The vector's eventfd. None if the driver chose no vector.
    event: Option<Arc<EventFd>>,
}

impl Interrupt {
    /// An interrupt that is sent by a write to `event`.
    #[must_use]
    pub fn new(event: Option<Arc<EventFd>>) -> Self {
        Self { event }
    }

    /// Whether the driver chose a vector.
    #[must_use]
    pub fn is_wired(&self) -> bool {
        self.event.is_some()
    }

    /// Sends the interrupt.
    pub fn trigger(&self) {
        if let Some(event) = &self.event {
            // Fails only when the counter is full: the interrupt is pending then.
            let _ = event.write(1);
        }
    }
}
