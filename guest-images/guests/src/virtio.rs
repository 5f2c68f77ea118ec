//! A modern virtio device on PCI (virtio 1.2, 4.1): its registers, and the steps that start it
//! (3.1.1). The registers are raw [`Region`]s, so that a test can do anything to them.

use crate::memory::Region;
use crate::msix::{self, Msix};
use crate::pci::{Capability, Function};
use crate::ring::Ring;

/// The vendor of all virtio devices, and the number that is added to the device type (4.1.2.1).
const VENDOR: u16 = 0x1af4;
const DEVICE_BASE: u16 = 0x1040;

/// The capability's ID, and the types of structures that it describes (4.1.4).
const CAPABILITY: u8 = 0x09;
const COMMON_CFG: u8 = 1;
const NOTIFY_CFG: u8 = 2;
const ISR_CFG: u8 = 3;
const DEVICE_CFG: u8 = 4;

/// Offsets in struct virtio_pci_common_cfg (4.1.4.3).
pub(crate) mod offset {
    pub(crate) const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub(crate) const DEVICE_FEATURE: u64 = 0x04;
    pub(crate) const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub(crate) const DRIVER_FEATURE: u64 = 0x0c;
    pub(crate) const CONFIG_MSIX_VECTOR: u64 = 0x10;
    pub(crate) const NUM_QUEUES: u64 = 0x12;
    pub(crate) const DEVICE_STATUS: u64 = 0x14;
    pub(crate) const CONFIG_GENERATION: u64 = 0x15;
    pub(crate) const QUEUE_SELECT: u64 = 0x16;
    pub(crate) const QUEUE_SIZE: u64 = 0x18;
    pub(crate) const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    pub(crate) const QUEUE_ENABLE: u64 = 0x1c;
    pub(crate) const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    pub(crate) const QUEUE_DESC: u64 = 0x20;
    pub(crate) const QUEUE_DRIVER: u64 = 0x28;
    pub(crate) const QUEUE_DEVICE: u64 = 0x30;
}

/// Bits of the status byte (2.1).
pub(crate) mod status {
    pub(crate) const ACKNOWLEDGE: u8 = 1;
    pub(crate) const DRIVER: u8 = 2;
    pub(crate) const DRIVER_OK: u8 = 4;
    pub(crate) const FEATURES_OK: u8 = 8;
    pub(crate) const NEEDS_RESET: u8 = 64;
    pub(crate) const FAILED: u8 = 128;
}

/// Feature bits of all devices (6).
pub(crate) const F_INDIRECT_DESC: u64 = 1 << 28;
pub(crate) const F_EVENT_IDX: u64 = 1 << 29;
pub(crate) const F_VERSION_1: u64 = 1 << 32;

/// A virtio device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Virtio {
    /// The device's PCI function.
    pub(crate) function: Function,
    /// The registers struct virtio_pci_common_cfg.
    pub(crate) common: Region,
    /// ISR status (4.1.4.5): a read clears it.
    pub(crate) isr: Region,
    /// The device's own configuration.
    pub(crate) config: Region,
    /// The doorbells, and the distance between them.
    pub(crate) notify: Region,
    notify_step: u64,
    pub(crate) msix: Msix,
}

impl Virtio {
    /// Returns the first device of a type.
    pub(crate) fn find(kind: u16) -> Option<Self> {
        Self::all().find(|(found, _)| *found == kind).map(|(_, device)| device)
    }

    /// Returns all devices, each with its type.
    pub(crate) fn all() -> impl Iterator<Item = (u16, Self)> {
        Function::of(VENDOR).filter_map(|(device, function)| {
            Some((device.checked_sub(DEVICE_BASE)?, Self::at(function)?))
        })
    }

    fn at(function: Function) -> Option<Self> {
        let bar = function.first_bar();
        let structure = |kind| {
            let mut all = function.capabilities().filter(|found| found.id == CAPABILITY);
            let found = all.find(|found| function.read(found.at).to_le_bytes()[3] == kind)?;
            Some((found.at, structure(function, found, &bar)))
        };
        let msix = function.capabilities().find(|found| found.id == msix::CAPABILITY)?;
        let (notify_at, notify) = structure(NOTIFY_CFG)?;
        Some(Self {
            function,
            common: structure(COMMON_CFG)?.1,
            isr: structure(ISR_CFG)?.1,
            config: structure(DEVICE_CFG)?.1,
            notify,
            notify_step: function.read(notify_at + 16).into(),
            msix: Msix::new(function, msix, &bar),
        })
    }

    /// Reads the status byte.
    pub(crate) fn status(&self) -> u8 {
        self.common.read(offset::DEVICE_STATUS)
    }

    /// Writes the status byte.
    pub(crate) fn set_status(&self, bits: u8) {
        self.common.write(offset::DEVICE_STATUS, bits);
    }

    /// Resets the device. The reset is done when the status reads 0 (4.1.4.3.2).
    pub(crate) fn reset(&self) {
        self.set_status(0);
        while self.status() != 0 {}
    }

    /// Returns the features that the device offers.
    pub(crate) fn offered(&self) -> u64 {
        let half = |select: u32| {
            self.common.write(offset::DEVICE_FEATURE_SELECT, select);
            u64::from(self.common.read::<u32>(offset::DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    /// Does steps 1 to 6 of 3.1.1: resets the device, accepts the wanted features that it offers,
    /// and returns them.
    pub(crate) fn negotiate(&self, wanted: u64) -> u64 {
        self.reset();
        self.set_status(status::ACKNOWLEDGE);
        self.set_status(status::ACKNOWLEDGE | status::DRIVER);
        let accepted = self.offered() & wanted;
        if !self.accept(accepted) {
            fail!("probe: the device does not accept the features {accepted:#x}");
        }
        accepted
    }

    /// Does steps 4 to 6 of 3.1.1, and returns whether the device accepts these features.
    pub(crate) fn accept(&self, features: u64) -> bool {
        use status::{ACKNOWLEDGE, DRIVER, FEATURES_OK};
        for (select, shift) in [(0_u32, 0), (1, 32)] {
            let half = u32::try_from(features >> shift & 0xffff_ffff).unwrap_or(0);
            self.common.write(offset::DRIVER_FEATURE_SELECT, select);
            self.common.write(offset::DRIVER_FEATURE, half);
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
        self.status() & FEATURES_OK != 0
    }

    /// Does step 8 of 3.1.1: sets DRIVER_OK.
    pub(crate) fn driver_ok(&self) {
        use status::{ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK};
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    }

    /// Sets the vector for changes of the configuration.
    pub(crate) fn set_config_vector(&self, vector: u16) {
        self.common.write(offset::CONFIG_MSIX_VECTOR, vector);
        if self.common.read::<u16>(offset::CONFIG_MSIX_VECTOR) != vector {
            fail!("probe: the device does not take MSI-X vector {vector}");
        }
    }

    /// Returns the largest size of a queue; 0 if the queue does not exist.
    pub(crate) fn queue_size(&self, queue: u16) -> u16 {
        self.common.write(offset::QUEUE_SELECT, queue);
        self.common.read(offset::QUEUE_SIZE)
    }

    /// Sets the addresses of a queue's rings (4.1.5.1.3), enables it, and returns its doorbell.
    pub(crate) fn enable_queue(&self, queue: u16, ring: &Ring, vector: u16) -> Region {
        let common = &self.common;
        common.write(offset::QUEUE_SELECT, queue);
        common.write(offset::QUEUE_SIZE, ring.size());
        common.write(offset::QUEUE_MSIX_VECTOR, vector);
        if common.read::<u16>(offset::QUEUE_MSIX_VECTOR) != vector {
            fail!("probe: queue {queue} does not take MSI-X vector {vector}");
        }
        self.set_address(offset::QUEUE_DESC, ring.descriptors.address());
        self.set_address(offset::QUEUE_DRIVER, ring.avail.address());
        self.set_address(offset::QUEUE_DEVICE, ring.used.address());
        common.write(offset::QUEUE_ENABLE, 1_u16);
        self.doorbell(queue)
    }

    /// Returns the doorbell of a queue (4.1.4.4).
    pub(crate) fn doorbell(&self, queue: u16) -> Region {
        self.common.write(offset::QUEUE_SELECT, queue);
        let place = self.common.read::<u16>(offset::QUEUE_NOTIFY_OFF);
        self.notify.part(u64::from(place) * self.notify_step, 2)
    }

    /// Writes a 64-bit register in two halves (4.1.3.1).
    pub(crate) fn set_address(&self, at: u64, address: u64) {
        let [low, high] = [address & 0xffff_ffff, address >> 32];
        self.common.write(at, u32::try_from(low).unwrap_or(0));
        self.common.write(at + 4, u32::try_from(high).unwrap_or(0));
    }

    /// Reads a part of the configuration that needs more than one access. If it changes meanwhile,
    /// it is read again (2.5.1).
    pub(crate) fn read_config<T>(&self, read: impl Fn(&Region) -> T) -> T {
        loop {
            let before: u8 = self.common.read(offset::CONFIG_GENERATION);
            let value = read(&self.config);
            if self.common.read::<u8>(offset::CONFIG_GENERATION) == before {
                return value;
            }
        }
    }
}

/// Returns the region to which a capability points (struct virtio_pci_cap).
fn structure(function: Function, capability: Capability, bar: &Region) -> Region {
    let at = capability.at;
    let [index, ..] = function.read(at + 4).to_le_bytes();
    let (start, length) = (function.read(at + 8), function.read(at + 12));
    if index != 0 {
        fail!("probe: a virtio structure is in BAR {index}, not 0");
    }
    bar.part(start.into(), length.into())
}
