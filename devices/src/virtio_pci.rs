//! A virtio device on the PCI bus: what its driver reads and writes (virtio 1.2,
//! 4.1), and the two moments that matter. DRIVER_OK: every enabled queue gets a
//! thread with its own copy of the registers and a fresh service. DeviceStatus 0: the
//! threads are stopped and joined before the status reads 0, which is within the
//! write itself unless the host has one of them in a system call that it cannot
//! leave (a disk that hangs). All of this runs on vCPU threads, under the
//! device's lock, for configuration only; no data comes this way.

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
mod slot;
mod start;

/// How long a vCPU waits for the threads of a device that it resets. A driver
/// that finds the status not yet 0 asks again (4.1.4.3.2), and the CPU has other
/// things to do meanwhile.
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
    /// The device's own configuration as the driver has seen it last.
    seen_config: Vec<u8>,
    queues: Vec<QueueSlot>,
    threads: Vec<QueueThread>,
    /// A reset has begun and waits for the threads.
    resetting: bool,
}

impl VirtioPci {
    /// A device named `name`, whose BAR lies at `base`.
    ///
    /// # Errors
    /// When the host has no eventfds to give, or the device has more queues than a PCI
    /// function can have here, or an ID that no virtio device has.
    pub fn new(
        name: &str,
        device: Box<dyn Device>,
        memory: Memory,
        machine: Arc<dyn Machine>,
        base: u32,
    ) -> io::Result<Self> {
        let specs = device.queues();
        let id = u16::try_from(device.id()).map_err(io::Error::other)?;
        let (vectors, count) = slot::vectors(specs.len())?;
        let slot = |spec: &QueueSpec| QueueSlot::new(name, spec, machine.as_ref());
        let queues = specs.iter().map(slot).collect::<io::Result<_>>()?;
        let msix = Msix::new(&vectors, Arc::clone(&machine));
        let status = Arc::new(DeviceStatus::new(name, vectors, Arc::clone(&machine)));
        let offered = device.features() | RING_FEATURES;
        Ok(Self {
            registers: Registers::new(&specs, offered, Arc::clone(&status)),
            config_space: ConfigSpace::new(id, base, count),
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
        })
    }

    /// The eventfd of each queue and the guest physical address whose writes signal it
    /// (KVM ioeventfd), as long as the device answers to memory accesses.
    #[must_use]
    pub fn doorbells(&self) -> Vec<(u64, Arc<EventFd>)> {
        let first = u64::from(self.config_space.base()) + bar::NOTIFY.start;
        let addresses = (first..).step_by(index(bar::NOTIFY_STEP));
        let doorbells = self.queues.iter().map(|queue| Arc::clone(&queue.doorbell));
        addresses.zip(doorbells).collect()
    }

    /// For a thread that changes the device's configuration while it runs.
    #[must_use]
    pub fn status(&self) -> Arc<DeviceStatus> {
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
            None => {
                self.config_space.read(at, data);
                self.show_interrupt(at, data);
            }
        }
    }

    /// 4.1.4.5.1: without MSI-X, the status register says whether ISR status has a bit.
    fn show_interrupt(&self, at: usize, data: &mut [u8]) {
        let waits = self.status.has_isr() && self.config_space.msix_control() & msix::ENABLE == 0;
        let byte = STATUS.checked_sub(at).and_then(|at| data.get_mut(at));
        if let Some(byte) = byte.filter(|_| waits) {
            *byte |= STATUS_INTERRUPT;
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
        self.config_space.write(at, data);
        self.obey_command();
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

    /// 4.1.4.3.1: once the driver has read a value that has changed, it reads another
    /// generation. The code that changes the configuration need not do anything for that.
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
                return; // The driver was to wait for status 0.
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

    /// A notification that did not go by ioeventfd (through the PCI_CFG window).
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

    /// All threads at once, and only then wait for each, for `patience` or as
    /// long as it takes. Whether they have ended.
    fn stop(&mut self, patience: Option<Duration>) -> bool {
        let until = patience.map(|patience| Instant::now() + patience);
        for thread in &self.threads {
            thread.request_stop();
        }
        self.threads.retain(|thread| !thread.wait_stopped(until));
        self.threads.is_empty()
    }

    /// Bring the device to the state after power-on; see [`Self::wait_reset_done`].
    pub fn begin_reset(&mut self) {
        self.resetting = true;
        for thread in &self.threads {
            thread.request_stop();
        }
    }

    /// Finish a reset that has begun, unless its threads need longer than
    /// `patience`. True if no reset is left to finish.
    ///
    /// 2.4.1: nothing the driver set up is left, and nothing of ours will touch
    /// its memory or interrupt it after the status reads 0.
    pub fn wait_reset_done(&mut self, patience: Duration) -> bool {
        if self.resetting && self.stop(Some(patience)) {
            self.resetting = false;
            self.bus.started = false;
            self.registers.reset();
            self.status.reset();
            self.msix.clear_pending();
        }
        !self.resetting
    }

    /// The threads that serve its queues, by name: "blk0-q0".
    pub fn threads(&self) -> impl Iterator<Item = &str> {
        self.threads.iter().filter(|thread| !thread.has_ended()).map(QueueThread::name)
    }
}

#[cfg(test)]
mod tests;
