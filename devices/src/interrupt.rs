//! Interrupts as a device sees them: an eventfd for each MSI-X vector, which
//! the virtual machine has wired to the guest's interrupt controller (KVM
//! irqfd). A queue thread writes it, and no exit and no lock is involved. While
//! a vector is masked its eventfd is unplugged, and its counter is the
//! pending bit.

use std::io;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use crate::observer::Observer;

/// What an MSI-X vector writes, and where (PCI 3.0, 6.8.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MsiMessage {
    /// Address, on x86 0xfee..... with the destination CPU.
    pub address: u64,
    /// Data, on x86 the vector number and the delivery mode.
    pub data: u32,
}

/// What the virtual machine does for its devices.
pub trait Machine: Send + Sync {
    /// A number for a new interrupt line, unique in this machine.
    fn new_line(&self) -> u32;

    /// From now on, a write to `event` sends `message`. If one was written
    /// before, it is sent at once.
    ///
    /// # Errors
    /// Of the host: when it cannot route `message`.
    fn connect(&self, line: u32, event: &EventFd, message: MsiMessage) -> io::Result<()>;

    /// Writes to `event` are only remembered, in its counter.
    fn disconnect(&self, line: u32, event: &EventFd);

    /// From now on, a write to guest physical `address` signals `doorbell`.
    ///
    /// # Errors
    /// Of the host.
    fn wire(&self, address: u64, doorbell: &EventFd) -> io::Result<()>;

    /// It does not any more: the write comes to the device as others do.
    fn unwire(&self, address: u64, doorbell: &EventFd);

    /// Who watches the queue whose thread has this name: the same one as ever, if there
    /// was such a queue before.
    fn observer(&self, _thread: &str) -> Arc<Observer> {
        Arc::default()
    }

    /// Something of the host failed in the thread named `thread`: the machine
    /// cannot go on.
    fn failed(&self, thread: &str, why: &str);
}

/// The interrupt of one queue, or of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// None if the driver chose no vector.
    event: Option<Arc<EventFd>>,
}

impl Interrupt {
    /// One that writes `event`.
    #[must_use]
    pub fn new(event: Option<Arc<EventFd>>) -> Self {
        Self { event }
    }

    /// Whether anything comes of it.
    #[must_use]
    pub fn is_wired(&self) -> bool {
        self.event.is_some()
    }

    /// Interrupt the guest.
    pub fn trigger(&self) {
        if let Some(event) = &self.event {
            // Fails only when the counter is full: the interrupt is pending then.
            let _ = event.write(1);
        }
    }
}
