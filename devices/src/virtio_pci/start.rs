//! Starts a device at DRIVER_OK: every queue that its driver has enabled gets a thread, with
//! a copy of the registers and a new service. [`crate::queue_thread`] shows what follows.

use std::io;
use std::sync::Arc;

use super::VirtioPci;
use super::slot::QueueSlot;
use crate::error::GuestError;
use crate::queue::{RING_FEATURES, Virtqueue};
use crate::queue_thread::{QueueThread, ServedQueue};
use crate::registers::QueueRegisters;

impl VirtioPci {
    /// Starts the threads, which own the queues from here on.
    pub(super) fn start(&mut self) {
        let accepted = self.registers.accepted();
        log::debug!(
            "{}: driver ready: offered {:#x}, accepted {accepted:#x}",
            self.status.name(),
            self.device.features() | RING_FEATURES
        );
        if let Err(error) = self.start_queues(accepted) {
            self.machine.failed(self.status.name(), &error.to_string());
        }
    }

    fn start_queues(&mut self, accepted: u64) -> io::Result<()> {
        self.device.begin(accepted)?;
        for (index, (slot, registers)) in
            self.queues.iter().zip(self.registers.queues()).enumerate()
        {
            if registers.enabled {
                self.threads.extend(self.start_queue(index, slot, registers)?);
            }
        }
        Ok(())
    }

    /// Starts the thread of one queue. None if the queue cannot be served as the driver has
    /// set it up: the device needs a reset then.
    fn start_queue(
        &self,
        index: usize,
        slot: &QueueSlot,
        registers: &QueueRegisters,
    ) -> io::Result<Option<QueueThread>> {
        let queue = match self.make_queue(slot, registers) {
            Ok(queue) => queue,
            Err(error) => {
                // The queue has no thread yet that could report it.
                slot.observer.broken();
                self.status.mark_needs_reset(&slot.name, &error);
                return Ok(None);
            }
        };
        QueueThread::spawn(self.serve_queue(index, slot, queue)?).map(Some)
    }

    /// Makes a queue as its driver has set it up.
    pub(super) fn make_queue(
        &self,
        slot: &QueueSlot,
        registers: &QueueRegisters,
    ) -> Result<Virtqueue, GuestError> {
        let interrupt = self.status.interrupt(registers.vector);
        let (doorbell, accepted) = (Arc::clone(&slot.doorbell), self.registers.accepted());
        let queue = Virtqueue::new(registers.layout, &self.memory, accepted, doorbell, interrupt)?;
        Ok(queue.observed_by(Arc::clone(&slot.observer)))
    }

    /// Gives a queue a new service.
    pub(super) fn serve_queue(
        &self,
        index: usize,
        slot: &QueueSlot,
        queue: Virtqueue,
    ) -> io::Result<ServedQueue> {
        let service = self.device.service(index, self.registers.accepted())?;
        let (name, owner) = (slot.name.clone(), Arc::clone(&self.status));
        Ok(ServedQueue::new(name, self.memory.clone(), queue, service, owner))
    }
}
