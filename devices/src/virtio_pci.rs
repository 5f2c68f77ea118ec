//! A virtio device on the PCI bus: what its driver reads and writes (virtio 1.2,
//! 4.1), and the two moments that matter. DRIVER_OK: every enabled queue gets a
//! thread with its own copy of the registers and a fresh service. Status 0: the
//! threads are stopped and joined before the write returns. Called by
//! [`crate::pci`] on vCPU threads, under the device's lock, for configuration
//! only; no data ever comes this way.

use std::ops::Range;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use crate::Memory;
use crate::config_space::{ConfigSpace, bar};
use crate::device::{Device, QueueSpec};
use crate::interrupt::Machine;
use crate::msix::Msix;
use crate::queue::{RING_FEATURES, Virtqueue};
use crate::queue_thread::QueueThread;
use crate::registers::{Action, Registers};
use crate::status::Status;

/// Bytes of the PCI window that one device takes.
pub const BAR_SIZE: u32 = bar::SIZE;

/// One device, from its configuration space to its threads.
pub struct VirtioPci {
    device: Box<dyn Device>,
    memory: Memory,
    machine: Arc<dyn Machine>,
    status: Arc<Status>,
    registers: Registers,
    config_space: ConfigSpace,
    msix: Msix,
    queues: Vec<QueueSpec>,
    doorbells: Vec<Arc<EventFd>>,
    threads: Vec<QueueThread>,
}

impl VirtioPci {
    /// A device named `name`, whose BAR lies at `base`.
    ///
    /// # Errors
    /// When the host has no eventfds to give.
    pub fn new(
        name: &str,
        device: Box<dyn Device>,
        memory: Memory,
        machine: Arc<dyn Machine>,
        base: u32,
    ) -> std::io::Result<Self> {
        let queues = device.queues();
        let event = |flags| EventFd::new(libc::EFD_CLOEXEC | flags).map(Arc::new);
        // One vector a queue and one for the configuration.
        let vectors: Vec<_> =
            (0..=queues.len()).map(|_| event(libc::EFD_NONBLOCK)).collect::<Result<_, _>>()?;
        let doorbells = queues.iter().map(|_| event(0)).collect::<Result<_, _>>()?;
        let msix = Msix::new(&vectors, Arc::clone(&machine));
        let count = u16::try_from(vectors.len()).unwrap_or(u16::MAX);
        let status = Arc::new(Status::new(name, vectors, Arc::clone(&machine)));
        let offered = device.features() | RING_FEATURES;
        Ok(Self {
            registers: Registers::new(&queues, offered, Arc::clone(&status)),
            config_space: ConfigSpace::new(device.id(), base, count),
            device,
            memory,
            machine,
            status,
            msix,
            queues,
            doorbells,
            threads: Vec::new(),
        })
    }

    /// The eventfd of each queue and the guest physical address whose writes
    /// are to signal it (KVM ioeventfd).
    #[must_use]
    pub fn doorbells(&self) -> Vec<(u64, Arc<EventFd>)> {
        let first = u64::from(self.config_space.base()) + bar::NOTIFY.start;
        let addresses = (first..).step_by(usize::try_from(bar::NOTIFY_STEP).unwrap_or(4));
        addresses.zip(self.doorbells.iter().cloned()).collect()
    }

    /// For whoever changes the device's configuration while it runs.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Read the configuration space.
    pub fn read_config(&mut self, at: usize, data: &mut [u8]) {
        match self.config_space.window(at) {
            Some(window) => {
                // The window is read whole, whatever part of it is wanted.
                let mut all = [0; 4];
                self.read_bar(
                    window.offset.into(),
                    all.get_mut(..window.length).unwrap_or_default(),
                );
                data.fill(0);
                copy(data, all.get(window.first..).unwrap_or_default());
            }
            None => self.config_space.read(at, data),
        }
    }

    /// Write the configuration space.
    pub fn write_config(&mut self, at: usize, data: &[u8]) {
        if let Some(window) = self.config_space.window(at) {
            if let (0, Some(data)) = (window.first, data.get(..window.length)) {
                self.write_bar(window.offset.into(), data);
            }
            return;
        }
        let mastered = self.config_space.bus_master();
        self.config_space.write(at, data);
        if mastered && !self.config_space.bus_master() {
            // How Linux silences a device whose driver will not get to it (kexec).
            self.stop();
        }
        self.msix.set_control(self.config_space.msix_control());
    }

    /// Read the BAR from the bus.
    pub fn read_memory(&mut self, at: u64, data: &mut [u8]) {
        data.fill(0xff);
        if self.config_space.memory_enabled() {
            self.read_bar(at, data);
        }
    }

    /// Write the BAR from the bus.
    pub fn write_memory(&mut self, at: u64, data: &[u8]) {
        if self.config_space.memory_enabled() {
            self.write_bar(at, data);
        }
    }

    fn read_bar(&mut self, at: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(at) = within(&bar::COMMON, at) {
            each_dword(at, data.len(), |at, part| {
                let value = self.registers.read(at, part.len()).to_le_bytes();
                copy(data.get_mut(part).unwrap_or_default(), &value);
            });
        } else if let Some(at) = within(&bar::DEVICE, at) {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            copy(data, self.device.config().get(at..).unwrap_or_default());
        } else if let Some(at) = within(&bar::MSIX_TABLE, at) {
            each_dword(at, data.len(), |at, part| {
                let value = self.msix.read_table(at).to_le_bytes();
                copy(data.get_mut(part).unwrap_or_default(), &value);
            });
        } else if let Some(at) = within(&bar::MSIX_PENDING, at) {
            each_dword(at, data.len(), |at, part| {
                let value = self.msix.read_pending(at).to_le_bytes();
                copy(data.get_mut(part).unwrap_or_default(), &value);
            });
        }
        // The ISR stays 0: it is for INTx, and we have MSI-X only (4.1.4.5).
    }

    fn write_bar(&mut self, at: u64, data: &[u8]) {
        if let Some(at) = within(&bar::COMMON, at) {
            each_dword(at, data.len(), |at, part| {
                let value = number(data.get(part.clone()).unwrap_or_default());
                let action = self.registers.write(at, part.len(), value);
                self.act(action);
            });
        } else if let Some(at) = within(&bar::NOTIFY, at) {
            self.ring(at);
        } else if let Some(at) = within(&bar::MSIX_TABLE, at) {
            each_dword(at, data.len(), |at, part| {
                let dword = data.get(part).unwrap_or_default();
                self.msix.write_table(at, dword);
            });
        }
        // The device's configuration and everything else is read-only.
    }

    /// A notification that did not go by ioeventfd (through the PCI_CFG window).
    fn ring(&self, at: u64) {
        let index = usize::try_from(at / u64::from(bar::NOTIFY_STEP)).unwrap_or(usize::MAX);
        if let Some(doorbell) = self.doorbells.get(index) {
            let _ = doorbell.write(1);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::None => {}
            Action::Start => self.start(),
            Action::Stop => self.stop(),
            Action::Reset => self.reset(),
        }
    }

    /// DRIVER_OK: from here on the threads own the queues.
    fn start(&mut self) {
        let accepted = self.registers.accepted();
        log::debug!(
            "{}: driver ready: offered {:#x}, accepted {accepted:#x}",
            self.status.name(),
            self.device.features() | RING_FEATURES
        );
        for index in 0..self.doorbells.len() {
            if let Err(error) = self.start_queue(index, accepted) {
                self.machine.failed(self.status.name(), &error.to_string());
            }
        }
    }

    fn start_queue(&mut self, index: usize, accepted: u64) -> std::io::Result<()> {
        let registers = self.registers.queues().get(index).filter(|queue| queue.enabled);
        let parts = (registers, self.doorbells.get(index), self.queues.get(index));
        let (Some(registers), Some(doorbell), Some(spec)) = parts else {
            return Ok(());
        };
        let name = format!("{}-{}", self.status.name(), spec.name);
        let interrupt = self.status.interrupt(registers.vector);
        let doorbell = Arc::clone(doorbell);
        let queue = Virtqueue::new(registers.layout, &self.memory, accepted, doorbell, interrupt);
        let queue = match queue {
            Ok(queue) => queue,
            Err(error) => {
                self.status.break_down(&name, &error);
                return Ok(());
            }
        };
        let service = self.device.service(index, accepted)?;
        let owner = Arc::clone(&self.status);
        let thread = QueueThread::spawn(name, self.memory.clone(), queue, service, owner)?;
        self.threads.push(thread);
        Ok(())
    }

    /// All threads at once, and only then wait for each.
    fn stop(&mut self) {
        for thread in &self.threads {
            thread.tell();
        }
        for thread in self.threads.drain(..) {
            thread.join();
        }
    }

    /// 2.4.1: nothing the driver set up is left, and nothing of ours will touch
    /// its memory or interrupt it after the status reads 0.
    pub fn reset(&mut self) {
        self.stop();
        self.registers.reset();
        self.status.reset();
        self.msix.clear_pending();
    }
}

/// The offset of `at` in `part`, if it is there.
fn within(part: &Range<u64>, at: u64) -> Option<u64> {
    part.contains(&at).then(|| at - part.start)
}

/// An access of 8 bytes is two of 4 (4.1.3.1); smaller ones stay as they are.
fn each_dword(at: u64, length: usize, mut access: impl FnMut(u64, Range<usize>)) {
    if length <= 4 {
        return access(at, 0..length);
    }
    for (at, start) in (at..).step_by(4).zip((0..length).step_by(4)) {
        access(at, start..length.min(start + 4));
    }
}

/// As much of `from` as there is room for.
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Up to four bytes as a little-endian number.
fn number(bytes: &[u8]) -> u32 {
    let mut all = [0; 4];
    copy(&mut all, bytes);
    u32::from_le_bytes(all)
}

#[cfg(test)]
mod tests;
