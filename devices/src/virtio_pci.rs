//! A virtio device on the PCI bus: what its driver reads and writes (virtio 1.2, 4.1). Two
//! writes matter most. At DRIVER_OK, every enabled queue gets a thread with a copy of the
//! registers and a new service. At status 0, the threads stop and are joined before the
//! status reads 0. That is done before the write returns, unless a thread hangs in a
//! system call of the host (a disk that hangs). All of this runs on vCPU threads, under
//! the device's lock, and only for configuration: data do not come this way.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::EventFd;

use crate::Memory;
use crate::config_space::{ConfigSpace, STATUS, STATUS_INTERRUPT, bar};
use crate::device::{Device, QueueSpec};
use crate::interrupt::Machine;
use crate::msix::{self, Msix};
use crate::number::index;
use crate::queue::RING_FEATURES;
use crate::queue_thread::QueueThread;
use crate::registers::{Action, Registers};
use crate::status::DeviceStatus;
use access::{copy, each_dword, number, within};
use bus::Bus;
use slot::QueueSlot;

mod access;
mod bus;
mod owner;
mod pause;
mod restore;
mod slot;
mod start;
mod state;

pub use state::VirtioPciState;

/// How long a vCPU waits for the threads of a device that it resets. A driver that does not
/// read 0 then asks again (4.1.4.3.2), and the vCPU can do other work meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes of the PCI window that one device takes.
pub const BAR_SIZE: u32 = bar::SIZE;

/// One device, from its configuration space to its threads.
pub struct VirtioPci {
    device: Box<dyn Device>,
    memory: Memory,
    machine: Arc<dyn Machine>,
    status: Arc<DeviceStatus>,
    registers: Registers,
    config_space: ConfigSpace,
    msix: Msix,
    bus: Bus,
    /// The device-specific configuration that the driver has read last.
    seen_config: Vec<u8>,
    queues: Vec<QueueSlot>,
    threads: Vec<QueueThread>,
    /// A reset has begun and waits for the threads.
    resetting: bool,
    /// Vectors that [`Self::resume`] signals, after [`Self::restore`].
    interrupts: Vec<u16>,
}

impl VirtioPci {
    /// A device named `name`, whose BAR lies at `base`.
    ///
    /// # Errors
    /// When the host has no eventfds to give, or the device has more queues than a PCI
    /// function can have here.
    pub fn new(
        name: &str,
        device: Box<dyn Device>,
        memory: Memory,
        machine: Arc<dyn Machine>,
        base: u32,
    ) -> io::Result<Self> {
        let specs = device.queues();
        let (vectors, count) = slot::vectors(specs.len())?;
        let slot = |spec: &QueueSpec| QueueSlot::new(name, spec, machine.as_ref());
        let queues = specs.iter().map(slot).collect::<io::Result<_>>()?;
        let msix = Msix::new(&vectors, Arc::clone(&machine));
        let status = Arc::new(DeviceStatus::new(name, vectors, Arc::clone(&machine)));
        let offered = device.features() | RING_FEATURES;
        Ok(Self {
            registers: Registers::new(&specs, offered, Arc::clone(&status)),
            config_space: ConfigSpace::new(device.id(), base, count),
            bus: Bus::default(),
            seen_config: device.config(),
            device,
            memory,
            machine,
            status,
            msix,
            queues,
            threads: Vec::new(),
            resetting: false,
            interrupts: Vec::new(),
        })
    }

    /// Returns the doorbell of each queue: the guest physical address whose writes signal it
    /// (KVM ioeventfd) while the device answers to memory accesses, and its eventfd.
    #[must_use]
    pub fn doorbells(&self) -> Vec<(u64, Arc<EventFd>)> {
        let first = u64::from(self.config_space.base()) + bar::NOTIFY.start;
        let addresses = (first..).step_by(index(bar::NOTIFY_STEP));
        let doorbells = self.queues.iter().map(|queue| Arc::clone(&queue.doorbell));
        addresses.zip(doorbells).collect()
    }

    /// Returns the device's status, for a thread that changes its configuration.
    #[must_use]
    pub fn status(&self) -> Arc<DeviceStatus> {
        Arc::clone(&self.status)
    }

    /// Reads the configuration space.
    pub fn read_config(&mut self, at: usize, data: &mut [u8]) {
        match self.config_space.window(at) {
            Some(window) => {
                // The window is read as a whole, whatever part of it the access wants.
                let mut all = [0; 4];
                self.read_bar(
                    window.offset.into(),
                    all.get_mut(..window.length).unwrap_or_default(),
                );
                data.fill(0);
                copy(data, all.get(window.first..).unwrap_or_default());
            }
            None => {
                self.config_space.read(at, data);
                self.show_interrupt(at, data);
            }
        }
    }

    /// Sets the interrupt bit of the status register, which without MSI-X says whether ISR
    /// status has a bit (4.1.4.5.1).
    fn show_interrupt(&self, at: usize, data: &mut [u8]) {
        let waits = self.status.has_isr() && self.config_space.msix_control() & msix::ENABLE == 0;
        let byte = STATUS.checked_sub(at).and_then(|at| data.get_mut(at));
        if let Some(byte) = byte.filter(|_| waits) {
            *byte |= STATUS_INTERRUPT;
        }
    }

    /// Writes the configuration space.
    pub fn write_config(&mut self, at: usize, data: &[u8]) {
        if let Some(window) = self.config_space.window(at) {
            if let (0, Some(data)) = (window.first, data.get(..window.length)) {
                self.write_bar(window.offset.into(), data);
            }
            return;
        }
        self.config_space.write(at, data);
        self.obey_command();
    }

    /// Reads the BAR, if the device answers to memory accesses.
    pub fn read_memory(&mut self, at: u64, data: &mut [u8]) {
        data.fill(0xff);
        if self.config_space.memory_enabled() {
            self.read_bar(at, data);
        }
    }

    /// Writes the BAR, if the device answers to memory accesses.
    pub fn write_memory(&mut self, at: u64, data: &[u8]) {
        if self.config_space.memory_enabled() {
            self.write_bar(at, data);
        }
    }

    fn read_bar(&mut self, at: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(at) = within(&bar::COMMON, at) {
            self.wait_reset_done(Duration::ZERO);
            self.look_at_config();
            each_dword(at, data.len(), |at, part| {
                let value = self.registers.read(at, part.len()).to_le_bytes();
                copy(data.get_mut(part).unwrap_or_default(), &value);
            });
        } else if let Some(at) = within(&bar::DEVICE, at) {
            self.look_at_config();
            copy(data, self.seen_config.get(index(at)..).unwrap_or_default());
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
        // ISR status. There is no INTx, so that it never says "a queue" (4.1.4.5).
        if let (Some(0), Some(first)) = (within(&bar::ISR, at), data.first_mut()) {
            *first = self.status.take_isr();
        }
    }

    /// Compares the device's configuration with what the driver has read last, and changes
    /// the generation if they differ (4.1.4.3.1). So the code that changes the configuration
    /// need not do anything.
    fn look_at_config(&mut self) {
        let config = self.device.config();
        if config != self.seen_config {
            self.seen_config = config;
            self.registers.next_generation();
        }
    }

    fn write_bar(&mut self, at: u64, data: &[u8]) {
        if let Some(at) = within(&bar::COMMON, at) {
            if !self.wait_reset_done(Duration::ZERO) {
                return; // The driver must wait for status 0.
            }
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

    /// Rings the doorbell for a notification that did not come by ioeventfd, for example
    /// through the PCI_CFG window.
    fn ring(&self, at: u64) {
        if let Some(queue) = self.queues.get(index(at / u64::from(bar::NOTIFY_STEP))) {
            let _ = queue.doorbell.write(1);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::None => {}
            Action::Start => self.start_if_ready(),
            Action::Stop => {
                self.stop(Some(PATIENCE));
            }
            Action::Reset => {
                self.begin_reset();
                self.wait_reset_done(PATIENCE);
            }
        }
    }

    /// Stops all threads: asks all of them to stop, and only then waits for each, for at
    /// most `patience` or without a limit. Returns whether they have ended.
    fn stop(&mut self, patience: Option<Duration>) -> bool {
        let until = patience.map(|patience| Instant::now() + patience);
        for thread in &self.threads {
            thread.request_stop();
        }
        self.threads.retain(|thread| !thread.wait_stopped(until));
        self.threads.is_empty()
    }

    /// Begins a reset: asks the threads to stop. [`Self::wait_reset_done`] finishes it.
    pub fn begin_reset(&mut self) {
        self.resetting = true;
        for thread in &self.threads {
            thread.request_stop();
        }
    }

    /// Finishes a reset that has begun, unless the threads need longer than `patience`.
    /// Returns true if no reset is unfinished.
    ///
    /// After the reset, nothing of the driver's set-up is left, and the device does not
    /// touch its memory or interrupt it (2.4.1).
    pub fn wait_reset_done(&mut self, patience: Duration) -> bool {
        if self.resetting && self.stop(Some(patience)) {
            self.resetting = false;
            self.bus.started = false;
            self.registers.reset();
            self.status.reset();
            self.msix.clear_pending();
            self.interrupts.clear();
        }
        !self.resetting
    }

    /// The device's name: "blk0".
    #[must_use]
    pub fn name(&self) -> String {
        self.status.name().to_string()
    }

    /// The names of the device's threads, for example "blk0-q0".
    pub fn threads(&self) -> impl Iterator<Item = &str> {
        self.threads.iter().filter(|thread| !thread.has_ended()).map(QueueThread::name)
    }
}

#[cfg(test)]
mod tests;
