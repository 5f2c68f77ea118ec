//! Starts a device at DRIVER_OK: every queue that its driver has enabled gets a thread, with
//! a copy of the registers and a new service. [`crate::queue_thread`] shows what follows.

use std::io;
use std::sync::Arc;

use super::VirtioPci;
use super::slot::QueueSlot;
use crate::queue::{RING_FEATURES, Virtqueue};
use crate::queue_thread::QueueThread;
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
                self.threads.extend(self.start_queue(index, slot, registers, accepted)?);
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
        accepted: u64,
    ) -> io::Result<Option<QueueThread>> {
        let interrupt = self.status.interrupt(registers.vector);
        let doorbell = Arc::clone(&slot.doorbell);
        let queue = Virtqueue::new(registers.layout, &self.memory, accepted, doorbell, interrupt);
        let queue = match queue {
            Ok(queue) => queue.observed_by(Arc::clone(&slot.observer)),
            Err(error) => {
                // The queue has no thread yet that could report it.
                slot.observer.broken();
                self.status.mark_needs_reset(&slot.name, &error);
                return Ok(None);
            }
        };
        let service = self.device.service(index, accepted)?;
        let (name, owner) = (slot.name.clone(), Arc::clone(&self.status));
        QueueThread::spawn(name, self.memory.clone(), queue, service, owner).map(Some)
    }
}
