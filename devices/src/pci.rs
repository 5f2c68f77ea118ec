//! The PCI bus as vCPUs reach it: configuration through the ports 0xcf8 and
//! 0xcfc ("configuration mechanism #1", PCI 3.0, 3.2.2.3.2), memory through the
//! window in which every device has its BAR. Slot 0 is the host bridge, the
//! devices follow in the order in which they were given: a slot each, and where
//! they are more than the slots, several functions of each slot. There is no ECAM:
//! Linux uses it only above offset 0xff, where we have nothing.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::mutex;
use crate::number::index;
use crate::virtio_pci::{BAR_SIZE, VirtioPci};

/// The ports of the configuration mechanism.
pub const CONFIG_PORTS: Range<u16> = 0xcf8..0xd00;
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;

/// The host bridge has the first.
const SLOTS: usize = 32;

/// Functions of a slot.
const FUNCTIONS: usize = 8;

/// As many devices a bus can have.
pub const MOST: usize = (SLOTS - 1) * FUNCTIONS;

/// The header type, and its bit that says that the slot has more functions than
/// the first (6.2.1). Nobody looks for those without it.
const HEADER_TYPE: usize = 0x0e;
const MULTI_FUNCTION: u8 = 1 << 7;

/// How long one device is waited for before the next one is.
const EACH: Duration = Duration::from_millis(10);

/// Vendor Intel, a host bridge (class 06 00) that no driver wants to configure.
const HOST_BRIDGE: [u8; 16] = [
    0x86, 0x80, 0x57, 0x0d, 0, 0, 0, 0, // vendor, device, command, status
    0, 0, 0, 6, 0, 0, 0, 0, // revision, class, cache line, latency, header, BIST
];

/// The bus and everything on it.
pub struct PciBus {
    window: u32,
    config_address: AtomicU32,
    devices: Vec<Mutex<VirtioPci>>,
}

impl PciBus {
    /// A bus whose memory window begins at `window`.
    #[must_use]
    pub fn new(window: u32) -> Self {
        Self { window, config_address: AtomicU32::new(0), devices: Vec::new() }
    }

    /// Where the BAR of the next device is to be; None when there are [`MOST`].
    #[must_use]
    pub fn next_base(&self) -> Option<u32> {
        let free = self.devices.len() < MOST;
        let index = u32::try_from(self.devices.len()).ok()?;
        free.then_some(self.window + index * BAR_SIZE)
    }

    /// Put a device, made with [`Self::next_base`], behind those that there are.
    pub fn add(&mut self, device: VirtioPci) {
        self.devices.push(Mutex::new(device));
    }

    /// Read one of [`CONFIG_PORTS`].
    pub fn read_port(&self, port: u16, data: &mut [u8]) {
        data.fill(0xff);
        let address = self.config_address.load(Ordering::Acquire);
        if port == CONFIG_ADDRESS && data.len() == 4 {
            data.copy_from_slice(&address.to_le_bytes());
        } else if let Some((place, at)) = target(address, port) {
            self.read_config(place, at, data);
        }
    }

    /// Write one of [`CONFIG_PORTS`].
    pub fn write_port(&self, port: u16, data: &[u8]) {
        if port == CONFIG_ADDRESS {
            if let Ok(address) = data.try_into() {
                self.config_address.store(u32::from_le_bytes(address), Ordering::Release);
            }
            return;
        }
        let address = self.config_address.load(Ordering::Acquire);
        if let Some((place, at)) = target(address, port)
            && let Some(mut device) = self.device(place)
        {
            device.write_config(at, data);
        }
    }

    fn read_config(&self, place: Place, at: usize, data: &mut [u8]) {
        if place == HOST {
            for (index, byte) in data.iter_mut().enumerate() {
                *byte = HOST_BRIDGE.get(at + index).copied().unwrap_or(0);
            }
        } else if let Some(mut device) = self.device(place) {
            device.read_config(at, data);
            let header_type = HEADER_TYPE.checked_sub(at).and_then(|at| data.get_mut(at));
            if let Some(byte) = header_type.filter(|_| self.functions() > 1) {
                *byte |= MULTI_FUNCTION;
            }
        }
    }

    /// Read from the memory window; what no device has reads as ones.
    pub fn read_memory(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((mut device, at)) = self.at(address) {
            device.read_memory(at, data);
        }
    }

    /// Write to the memory window.
    pub fn write_memory(&self, address: u64, data: &[u8]) {
        if let Some((mut device, at)) = self.at(address) {
            device.write_memory(at, data);
        }
    }

    /// Stop every device, as a power-off does, for `patience` at most. The names
    /// of the queue threads that have not ended by then; asking again is harmless.
    pub fn reset(&self, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        for device in &self.devices {
            mutex::lock(device).begin_reset();
        }
        self.wait(until, |device| device.wait_reset_done(EACH))
    }

    /// Pause every device at a request boundary. Returns the names of the queue
    /// threads that have not stopped after `patience`: the caller must resume the
    /// bus then.
    pub fn pause(&self, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        for device in &self.devices {
            mutex::lock(device).begin_pause();
        }
        self.wait(until, |device| device.wait_paused(EACH))
    }

    /// Have every device go on. Harmless if they run.
    ///
    /// # Errors
    /// When the host has no threads to give. Nothing is lost, and it may be asked again.
    pub fn resume(&self) -> std::io::Result<()> {
        self.devices.iter().try_for_each(|device| mutex::lock(device).resume())
    }

    /// Until all devices are `done`. The threads of those that are not by then.
    fn wait(&self, until: Instant, done: impl Fn(&mut VirtioPci) -> bool) -> Vec<String> {
        loop {
            // Each in turn: also wait for the others if one hangs.
            let left = self.devices.iter().filter(|device| !done(&mut mutex::lock(device)));
            let left: Vec<_> = left.collect();
            let names: Vec<_> = left.iter().copied().flat_map(names).collect();
            // A thread may have ended just now; its device is not done for that.
            if left.is_empty() || Instant::now() >= until && !names.is_empty() {
                return names;
            }
        }
    }

    /// How many functions slots have: as few as will do, so that a guest whose
    /// devices find room in the slots has each at the same place, however many
    /// there are. A slot is filled before the next: drivers look at slots in their
    /// order and at the functions of one in theirs, and are to find the devices in
    /// the order in which they were given.
    fn functions(&self) -> usize {
        self.devices.len().div_ceil(SLOTS - 1)
    }

    fn device(&self, (slot, function): Place) -> Option<MutexGuard<'_, VirtioPci>> {
        let functions = self.functions();
        let index = slot.checked_sub(1)? * functions + function;
        self.devices.get(index).filter(|_| function < functions).map(mutex::lock)
    }

    fn at(&self, address: u64) -> Option<(MutexGuard<'_, VirtioPci>, u64)> {
        let offset = address.checked_sub(self.window.into())?;
        let device = self.devices.get(index(offset / u64::from(BAR_SIZE)))?;
        Some((mutex::lock(device), offset % u64::from(BAR_SIZE)))
    }
}

fn names(device: &Mutex<VirtioPci>) -> Vec<String> {
    mutex::lock(device).threads().map(str::to_string).collect()
}

/// Slot and function.
type Place = (usize, usize);

/// The host bridge's.
const HOST: Place = (0, 0);

/// Where on the bus, and at which offset, the address register selects; None
/// unless it is enabled and means bus 0.
fn target(address: u32, port: u16) -> Option<(Place, usize)> {
    let enabled = address >> 31 == 1;
    let bus = address >> 16 & 0xff;
    let slot = index(address >> 11 & 0x1f);
    let function = index(address >> 8 & 7);
    let register = index(address & 0xfc);
    let byte = usize::from(port.checked_sub(CONFIG_DATA)?);
    (enabled && bus == 0).then_some(((slot, function), register + byte))
}

#[cfg(test)]
mod tests;
