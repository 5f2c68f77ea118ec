//! A driver made by hand. [`FakeGuest`] drives a whole [`VirtioPci`] device over
//! real guest memory and nothing but the registers, as a guest does; its parts
//! ([`ring`], [`pci`], [`machine`], [`device`]) serve to do the same wrongly.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails where its driver fails"
)]

pub mod device;
pub mod log;
pub mod machine;
pub mod pci;
mod requests;
pub mod ring;
pub mod threads;

use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress};

use crate::Memory;
use crate::device::Device;
use crate::state::StateError;
use crate::status::{ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK};
use crate::trace::TraceRing;
use crate::virtio_pci::{VirtioPci, VirtioPciState};

use machine::{FakeMachine, PATIENCE, until};
use pci::{COMMAND, Map, Register, common};
use ring::Ring;

/// RAM below the hole ends here.
pub const RAM_END: u64 = 8 * Ring::BYTES;
/// Where the device's BAR lies, in the hole.
pub const BAR: u32 = 0xc000_0000;
/// RAM above the hole begins here.
pub const HIGH_RAM: u64 = 1 << 32;

/// Guest memory with a hole, as a machine has it.
pub fn memory() -> Memory {
    let low = (GuestAddress(0), usize::try_from(RAM_END).unwrap());
    Memory::from_ranges(&[low, (GuestAddress(HIGH_RAM), 0x1000)]).unwrap()
}

/// A device, its driver, and the machine around them.
pub struct FakeGuest {
    /// What the driver drives.
    pub device: VirtioPci,
    /// The guest's memory.
    pub memory: Memory,
    /// What the device can ask of its machine.
    pub machine: Arc<FakeMachine>,
    /// The registers' places, from the capabilities.
    pub map: Map,
    /// The queues, once they are set up.
    pub rings: Vec<Ring>,
    /// Feature bits that the driver does without.
    pub without: u64,
}

impl FakeGuest {
    /// The device has been found, and nothing more.
    pub fn found(device: impl Device + 'static) -> Self {
        Self::found_as("fake0", device)
    }

    /// A guest whose device has a name.
    pub fn found_as(name: &str, device: impl Device + 'static) -> Self {
        Self::found_on(Arc::default(), name, device)
    }

    /// A device that is traced, if its queue has the ring's name.
    pub fn found_with(device: impl Device + 'static, ring: Arc<TraceRing>) -> Self {
        Self::found_on(Arc::new(FakeMachine::with_trace(ring)), "fake0", device)
    }

    fn found_on(machine: Arc<FakeMachine>, name: &str, device: impl Device + 'static) -> Self {
        let mut guest = Self::powered_on(machine, memory(), name, device);
        guest.map = Map::find(&mut guest.device);
        guest.device.write_config(COMMAND, &0b110u16.to_le_bytes());
        guest
    }

    /// A guest that has not found its device yet.
    fn powered_on(
        machine: Arc<FakeMachine>,
        memory: Memory,
        name: &str,
        device: impl Device + 'static,
    ) -> Self {
        log::record();
        let device = Box::new(device);
        let (guest_memory, shared) = (memory.clone(), Arc::clone(&machine) as Arc<_>);
        let device = VirtioPci::new(name, device, guest_memory, shared, BAR).unwrap();
        Self { device, memory, machine, map: Map::default(), rings: Vec::new(), without: 0 }
    }

    /// The driver is up.
    pub fn new(device: impl Device + 'static) -> Self {
        Self::named("fake0", device)
    }

    /// A guest whose device has threads that the test looks for by name.
    pub fn named(name: &str, device: impl Device + 'static) -> Self {
        let mut guest = Self::found_as(name, device);
        guest.start();
        guest
    }

    /// From wherever the device is to DRIVER_OK.
    pub fn start(&mut self) {
        self.set_up();
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    }

    /// Everything before DRIVER_OK, as Linux does it.
    pub fn set_up(&mut self) {
        self.negotiate();
        self.enable_msix();
        self.write(common::CONFIG_VECTOR, 0);
        let queues = u16::try_from(self.read(common::NUM_QUEUES)).unwrap();
        self.rings = (0..queues).map(|queue| self.set_up_queue(queue)).collect();
        for queue in 0..queues {
            self.enable_queue(queue);
        }
    }

    /// Reset, then accept everything offered but [`Self::without`].
    pub fn negotiate(&mut self) {
        self.reset();
        self.set_status(ACKNOWLEDGE);
        self.set_status(ACKNOWLEDGE | DRIVER);
        let wanted = self.offered() & !self.without;
        self.accept(wanted);
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
        assert_eq!(self.status(), ACKNOWLEDGE | DRIVER | FEATURES_OK);
    }

    /// Reset the device, and wait until it has been reset: 4.1.4.3.2, that may take longer than
    /// the write. A thread that does not end fails the test; a busy machine does not.
    pub fn reset(&mut self) {
        self.set_status(0);
        until("the end of the reset", || self.status() == 0);
    }

    /// All vectors to CPU 0, with their number as data.
    pub fn enable_msix(&mut self) {
        let control = self.map.msix + 2;
        self.device.write_config(control, &0xc000u16.to_le_bytes());
        for vector in 0..self.map.vectors {
            self.set_vector(vector, 0xfee0_0000, vector.into());
            self.mask(vector, false);
        }
        self.device.write_config(control, &0x8000u16.to_le_bytes());
    }

    /// Write a table entry: address and data.
    pub fn set_vector(&mut self, vector: u16, address: u64, data: u32) {
        let entry = self.map.msix_table + 16 * u64::from(vector);
        self.device.write_memory(entry, &address.to_le_bytes());
        self.device.write_memory(entry + 8, &data.to_le_bytes());
    }

    /// Mask or unmask a vector.
    pub fn mask(&mut self, vector: u16, masked: bool) {
        let control = self.map.msix_table + 16 * u64::from(vector) + 12;
        self.device.write_memory(control, &u32::from(masked).to_le_bytes());
    }

    /// The pending bit of a vector.
    pub fn pending(&mut self, vector: u16) -> bool {
        let mut bits = [0; 8];
        self.device.read_memory(self.map.msix_pending, &mut bits);
        u64::from_le_bytes(bits) >> vector & 1 == 1
    }

    /// Everything about one queue but enabling it. Its vector is its number + 1.
    pub fn set_up_queue(&mut self, queue: u16) -> Ring {
        self.write(common::QUEUE_SELECT, queue.into());
        let size = u16::try_from(self.read(common::QUEUE_SIZE)).unwrap();
        let mut ring = Ring::new(&self.memory, u64::from(queue) * Ring::BYTES, size);
        ring.clear();
        self.write(common::QUEUE_SIZE, size.into());
        self.write(common::QUEUE_DESC, ring.layout.descriptors);
        self.write(common::QUEUE_DRIVER, ring.layout.avail);
        self.write(common::QUEUE_DEVICE, ring.layout.used);
        self.write(common::QUEUE_VECTOR, u64::from(queue) + 1);
        assert_eq!(self.read(common::QUEUE_VECTOR), u64::from(queue) + 1);
        ring
    }

    /// Put a queue into use.
    pub fn enable_queue(&mut self, queue: u16) {
        self.write(common::QUEUE_SELECT, queue.into());
        self.write(common::QUEUE_ENABLE, 1);
    }

    /// Read ISR status, which clears it.
    pub fn isr(&mut self) -> u8 {
        let mut isr = [0xff];
        self.device.read_memory(self.map.isr, &mut isr);
        u8::from_le_bytes(isr)
    }

    /// Read a register of the common configuration.
    pub fn read(&mut self, (at, width): Register) -> u64 {
        let mut bytes = [0; 8];
        self.device.read_memory(self.map.common + at, &mut bytes[..width]);
        u64::from_le_bytes(bytes)
    }

    /// Writes a register of the common configuration.
    pub fn write(&mut self, (at, width): Register, value: u64) {
        self.device.write_memory(self.map.common + at, &value.to_le_bytes()[..width]);
    }

    /// The status byte.
    pub fn status(&mut self) -> u8 {
        u8::try_from(self.read(common::STATUS)).unwrap()
    }

    /// Write the status byte.
    pub fn set_status(&mut self, status: u8) {
        self.write(common::STATUS, status.into());
    }

    /// Feature bits of the device.
    pub fn offered(&mut self) -> u64 {
        self.halves(common::DEVICE_FEATURE_SELECT, common::DEVICE_FEATURE)
    }

    /// Feature bits that the driver has accepted.
    pub fn accepted(&mut self) -> u64 {
        self.halves(common::DRIVER_FEATURE_SELECT, common::DRIVER_FEATURE)
    }

    fn halves(&mut self, select: Register, feature: Register) -> u64 {
        self.write(select, 0);
        let low = self.read(feature);
        self.write(select, 1);
        self.read(feature) << 32 | low
    }

    /// Accept exactly these.
    pub fn accept(&mut self, features: u64) {
        for (select, half) in [(0, features & 0xffff_ffff), (1, features >> 32)] {
            self.write(common::DRIVER_FEATURE_SELECT, select);
            self.write(common::DRIVER_FEATURE, half);
        }
    }

    /// Pause the device; it must succeed.
    pub fn pause(&mut self) {
        self.device.begin_pause();
        assert!(self.device.wait_paused(PATIENCE), "the device does not pause");
    }

    /// Resumes the device.
    pub fn resume(&mut self) {
        self.device.resume().unwrap();
    }

    /// Pauses the device and takes its state, which goes through a file.
    pub fn save(&mut self) -> VirtioPciState {
        self.pause();
        let state = self.device.state().unwrap();
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<VirtioPciState>(&text).unwrap(), state);
        state
    }

    /// A guest whose driver continues on another device, with a copy of the memory. The device
    /// is paused.
    ///
    /// # Errors
    /// Those of the device.
    pub fn restored(
        &self,
        state: &VirtioPciState,
        device: impl Device + 'static,
    ) -> Result<Self, StateError> {
        let memory = memory();
        memory.write_slice(&self.everything(), GuestAddress(0)).unwrap();
        self.restored_in(memory, state, device)
    }

    /// A guest whose driver continues on another device, in this memory. The device is paused.
    ///
    /// # Errors
    /// Those of the device.
    pub fn restored_in(
        &self,
        memory: Memory,
        state: &VirtioPciState,
        device: impl Device + 'static,
    ) -> Result<Self, StateError> {
        let name = self.device.name();
        let mut guest = Self::powered_on(Arc::default(), memory, &name, device);
        guest.device.restore(state)?;
        let (map, without) = (self.map, self.without);
        let rings = self.rings.iter().map(|ring| ring.moved_to(&guest.memory)).collect();
        Ok(Self { map, without, rings, ..guest })
    }

    /// All of the guest's memory below the hole.
    pub fn everything(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(RAM_END).unwrap()];
        self.memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
        bytes
    }
}
