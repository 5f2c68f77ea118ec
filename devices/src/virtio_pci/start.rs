//! A device comes to life: every queue that its driver has enabled gets a thread, with its
//! own copy of the registers and a fresh service. From here on, read
//! [`crate::queue_thread`].

use std::sync::Arc;

use super::VirtioPci;
use crate::queue::{RING_FEATURES, Virtqueue};
use crate::queue_thread::QueueThread;

impl VirtioPci {
    /// From here on the threads own the queues.
    pub(super) fn start(&mut self) {
        let accepted = self.registers.accepted();
        log::debug!(
            "{}: driver ready: offered {:#x}, accepted {accepted:#x}",
            self.status.name(),
            self.device.features() | RING_FEATURES
        );
        let begun = self.device.begin(accepted);
        let mut queues = 0..self.doorbells.len();
        let started = begun.and_then(|()| queues.try_for_each(|i| self.start_queue(i, accepted)));
        if let Err(error) = started {
            self.machine.failed(self.status.name(), &error.to_string());
        }
    }

    fn start_queue(&mut self, index: usize, accepted: u64) -> std::io::Result<()> {
        let registers = self.registers.queues().get(index).filter(|queue| queue.enabled);
        let parts = (registers, self.doorbells.get(index), self.queues.get(index));
        let (Some(registers), Some(doorbell), Some(spec)) = parts else {
            return Ok(());
        };
        let Some(observer) = self.observers.get(index) else { return Ok(()) };
        let name = format!("{}-{}", self.status.name(), spec.name);
        let interrupt = self.status.interrupt(registers.vector);
        let doorbell = Arc::clone(doorbell);
        let queue = Virtqueue::new(registers.layout, &self.memory, accepted, doorbell, interrupt);
        let queue = match queue {
            Ok(queue) => queue.observed_by(Arc::clone(observer)),
            Err(error) => {
                // There is no thread that could.
                observer.broken();
                self.status.mark_needs_reset(&name, &error);
                return Ok(());
            }
        };
        let service = self.device.service(index, accepted)?;
        let owner = Arc::clone(&self.status);
        let thread = QueueThread::spawn(name, self.memory.clone(), queue, service, owner)?;
        self.threads.push(thread);
        Ok(())
    }
}
