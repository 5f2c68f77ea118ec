//! The PCI bus. vCPUs access the configuration spaces through the ports 0xcf8 and 0xcfc
//! ("configuration mechanism #1", PCI 3.0, 3.2.2.3.2), and the BARs through a window in
//! memory. Slot 0 is the host bridge. The devices follow in the order in which they were
//! added, each in a slot; if there are more devices than slots, slots have several
//! functions. The bus has no ECAM: Linux uses it only above offset 0xff, where our
//! devices have nothing.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::mutex;
use crate::number::index;
use crate::virtio_pci::{BAR_SIZE, VirtioPci};

mod state;

pub use state::PciBusState;

/// The ports of the configuration mechanism.
pub const CONFIG_PORTS: Range<u16> = 0xcf8..0xd00;
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;

/// Slots of the bus. The host bridge has the first.
const SLOTS: usize = 32;

/// Functions of a slot.
const FUNCTIONS: usize = 8;

/// The most devices of a bus.
pub const MOST: usize = (SLOTS - 1) * FUNCTIONS;

/// The header type, and its bit for a slot with several functions (6.2.1). Without this
/// bit, drivers look only for the first function.
const HEADER_TYPE: usize = 0x0e;
const MULTI_FUNCTION: u8 = 1 << 7;

/// How long the bus waits for one device before it waits for the next.
const EACH: Duration = Duration::from_millis(10);

/// The configuration space of the host bridge (class 06 00): an Intel device that Linux
/// has no driver for.
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

    /// The address for the BAR of the next device. None if the bus has [`MOST`] devices.
    #[must_use]
    pub fn next_base(&self) -> Option<u32> {
        let free = self.devices.len() < MOST;
        let index = u32::try_from(self.devices.len()).ok()?;
        free.then_some(self.window + index * BAR_SIZE)
    }

    /// Adds a device that was made with [`Self::next_base`].
    pub fn add(&mut self, device: VirtioPci) {
        self.devices.push(Mutex::new(device));
    }

    /// Reads one of [`CONFIG_PORTS`].
    pub fn read_port(&self, port: u16, data: &mut [u8]) {
        data.fill(0xff);
        let address = self.config_address.load(Ordering::Acquire);
        if port == CONFIG_ADDRESS && data.len() == 4 {
            data.copy_from_slice(&address.to_le_bytes());
        } else if let Some((place, at)) = target(address, port) {
            self.read_config(place, at, data);
        }
    }

    /// Writes one of [`CONFIG_PORTS`].
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

    /// Reads from the memory window. An address without a device reads as ones.
    pub fn read_memory(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((mut device, at)) = self.at(address) {
            device.read_memory(at, data);
        }
    }

    /// Writes to the memory window.
    pub fn write_memory(&self, address: u64, data: &[u8]) {
        if let Some((mut device, at)) = self.at(address) {
            device.write_memory(at, data);
        }
    }

    /// Resets every device, and waits for at most `patience`. Returns the names of the
    /// queue threads that have not ended by then. Calling this again is harmless.
    pub fn reset(&self, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        for device in &self.devices {
            mutex::lock(device).begin_reset();
        }
        self.wait(until, |device| device.wait_reset_done(EACH))
    }

    /// Pauses every device at a request boundary. Returns the names of the queue
    /// threads that have not stopped after `patience`: the caller must resume the
    /// bus then.
    pub fn pause(&self, patience: Duration) -> Vec<String> {
        let until = Instant::now() + patience;
        for device in &self.devices {
            mutex::lock(device).begin_pause();
        }
        self.wait(until, |device| device.wait_paused(EACH))
    }

    /// Resumes every device. Harmless if they run.
    ///
    /// # Errors
    /// When the host cannot start a thread. Nothing is lost, and the call can be repeated.
    pub fn resume(&self) -> std::io::Result<()> {
        self.devices.iter().try_for_each(|device| mutex::lock(device).resume())
    }

    /// Waits until all devices are `done`, or until `until`. Returns the names of the
    /// threads of the devices that are not.
    fn wait(&self, until: Instant, done: impl Fn(&mut VirtioPci) -> bool) -> Vec<String> {
        loop {
            // Wait for each in turn, so that one that hangs does not hold up the others.
            let left = self.devices.iter().filter(|device| !done(&mut mutex::lock(device)));
            let left: Vec<_> = left.collect();
            let names: Vec<_> = left.iter().copied().flat_map(names).collect();
            // A device whose threads have ended just now may still not be done.
            if left.is_empty() || Instant::now() >= until && !names.is_empty() {
                return names;
            }
        }
    }

    /// The number of functions that each slot has: as few as possible, so that devices
    /// have the same place for any number of devices that the slots suffice for. A slot is
    /// filled before the next one, because drivers look at slot after slot and at function
    /// after function, and have to find the devices in the order in which they were added.
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

/// A place on the bus: slot and function.
type Place = (usize, usize);

/// The place of the host bridge.
const HOST: Place = (0, 0);

/// Returns the place and the offset that the address register selects. None unless it is
/// enabled and selects bus 0.
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
