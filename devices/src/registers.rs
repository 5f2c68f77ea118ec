//! The common configuration of virtio over PCI (virtio 1.2, 4.1.4.3) and the rules of its
//! status byte (2.1, 3.1.1): what a driver may write, when, and what it reads back. This
//! is state alone: a write returns an [`Action`] for [`crate::virtio_pci`]. A write that
//! breaks a rule changes nothing, as with a real device; the driver sees that when it
//! reads the register.

use std::sync::Arc;

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;

use crate::device::QueueSpec;
use crate::number::{low_u8, low_u16, low_u32, low_u64};
use crate::queue::QueueLayout;
use crate::status::{
    ACKNOWLEDGE, DRIVER, DRIVER_OK, DeviceStatus, FAILED, FEATURES_OK, NEEDS_RESET, NO_VECTOR,
};

mod state;

pub(crate) use state::RegistersState;

/// What has to be done after a write to the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The write has changed a register, or nothing.
    None,
    /// DRIVER_OK: start serving the queues.
    Start,
    /// FAILED: stop serving the queues. The driver has given up.
    Stop,
    /// Status 0: reset the device to the state after power-on.
    Reset,
}

/// The registers of one queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueRegisters {
    /// The most entries that the driver may use.
    limit: u16,
    pub(crate) layout: QueueLayout,
    pub(crate) enabled: bool,
    pub(crate) vector: u16,
}

impl QueueRegisters {
    /// The state after power-on of a queue with at most `limit` entries.
    fn new(limit: u16) -> Self {
        let layout = QueueLayout { size: limit, ..QueueLayout::default() };
        Self { limit, layout, enabled: false, vector: NO_VECTOR }
    }
}

/// Offsets in struct virtio_pci_common_cfg.
mod offset {
    pub(super) const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub(super) const DEVICE_FEATURE: u64 = 0x04;
    pub(super) const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub(super) const DRIVER_FEATURE: u64 = 0x0c;
    pub(super) const CONFIG_MSIX_VECTOR: u64 = 0x10;
    pub(super) const NUM_QUEUES: u64 = 0x12;
    pub(super) const DEVICE_STATUS: u64 = 0x14;
    pub(super) const CONFIG_GENERATION: u64 = 0x15;
    pub(super) const QUEUE_SELECT: u64 = 0x16;
    pub(super) const QUEUE_SIZE: u64 = 0x18;
    pub(super) const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    pub(super) const QUEUE_ENABLE: u64 = 0x1c;
    pub(super) const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    pub(super) const QUEUE_DESC: u64 = 0x20;
    pub(super) const QUEUE_DRIVER: u64 = 0x28;
    pub(super) const QUEUE_DEVICE: u64 = 0x30;
}

/// The registers of one device.
pub(crate) struct Registers {
    offered: u64,
    status: Arc<DeviceStatus>,
    /// The accepted feature bits: four words. Our devices offer no bits in the last two.
    accepted: u128,
    /// The driver has set a feature bit behind the fourth word.
    accepted_beyond: bool,
    /// A number that changes when the device's configuration changes (2.5.1).
    generation: u8,
    device_feature_select: u32,
    driver_feature_select: u32,
    queue_select: u16,
    queues: Vec<QueueRegisters>,
}

impl Registers {
    pub(crate) fn new(specs: &[QueueSpec], offered: u64, status: Arc<DeviceStatus>) -> Self {
        Self {
            offered,
            status,
            accepted: 0,
            accepted_beyond: false,
            generation: 0,
            device_feature_select: 0,
            driver_feature_select: 0,
            queue_select: 0,
            queues: specs.iter().map(|spec| QueueRegisters::new(spec.size)).collect(),
        }
    }

    /// Restores the state after power-on, except for the status byte.
    pub(crate) fn reset(&mut self) {
        (self.accepted, self.accepted_beyond, self.queue_select) = (0, false, 0);
        (self.device_feature_select, self.driver_feature_select) = (0, 0);
        for queue in &mut self.queues {
            *queue = QueueRegisters::new(queue.limit);
        }
    }

    /// The negotiated feature bits.
    pub(crate) fn accepted(&self) -> u64 {
        // FEATURES_OK is refused if the driver sets a higher bit: no device offers any.
        low_u64(self.accepted)
    }

    /// Changes the generation: the configuration differs from what the driver read last.
    pub(crate) fn next_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    pub(crate) fn queues(&self) -> &[QueueRegisters] {
        &self.queues
    }

    /// Reads a register of `size` bytes. An address without a register reads as 0.
    pub(crate) fn read(&self, at: u64, size: usize) -> u32 {
        let queue = self.queues.get(usize::from(self.queue_select));
        let from_queue = |get: fn(&QueueRegisters) -> u32| queue.map_or(0, get);
        match (at, size) {
            (offset::DEVICE_FEATURE_SELECT, 4) => self.device_feature_select,
            (offset::DEVICE_FEATURE, 4) => word(self.offered.into(), self.device_feature_select),
            (offset::DRIVER_FEATURE_SELECT, 4) => self.driver_feature_select,
            (offset::DRIVER_FEATURE, 4) => word(self.accepted, self.driver_feature_select),
            (offset::CONFIG_MSIX_VECTOR, 2) => self.status.config_vector().into(),
            (offset::NUM_QUEUES, 2) => low_u32(self.queues.len() as u64),
            (offset::DEVICE_STATUS, 1) => self.status.bits().into(),
            (offset::CONFIG_GENERATION, 1) => self.generation.into(),
            (offset::QUEUE_SELECT, 2) => self.queue_select.into(),
            (offset::QUEUE_SIZE, 2) => from_queue(|queue| queue.layout.size.into()),
            (offset::QUEUE_MSIX_VECTOR, 2) => queue.map_or(NO_VECTOR, |q| q.vector).into(),
            (offset::QUEUE_ENABLE, 2) => from_queue(|queue| queue.enabled.into()),
            (offset::QUEUE_NOTIFY_OFF, 2) => queue.map_or(0, |_| self.queue_select.into()),
            (at, 4) => queue.map_or(0, |queue| read_address(&queue.layout, at)),
            _ => 0,
        }
    }

    /// Writes a register of `size` bytes.
    pub(crate) fn write(&mut self, at: u64, size: usize, value: u32) -> Action {
        match (at, size) {
            (offset::DEVICE_FEATURE_SELECT, 4) => self.device_feature_select = value,
            (offset::DRIVER_FEATURE_SELECT, 4) => self.driver_feature_select = value,
            (offset::DRIVER_FEATURE, 4) => self.accept_features(value),
            (offset::CONFIG_MSIX_VECTOR, 2) => self.status.set_config_vector(low_u16(value)),
            (offset::DEVICE_STATUS, 1) => {
                return self.write_status(low_u8(value));
            }
            (offset::QUEUE_SELECT, 2) => self.queue_select = low_u16(value),
            _ => self.write_queue(at, size, value),
        }
        Action::None
    }

    /// Accepts features, between DRIVER and FEATURES_OK (3.1.1).
    fn accept_features(&mut self, value: u32) {
        if self.status.bits() != ACKNOWLEDGE | DRIVER {
            return;
        }
        let Some(shift) = word_shift(self.driver_feature_select) else {
            self.accepted_beyond |= value != 0;
            return;
        };
        self.accepted &= !(u128::from(u32::MAX) << shift);
        self.accepted |= u128::from(value) << shift;
    }

    /// Writes the status byte. The driver sets its bits one after the other, in this order,
    /// and 0 resets the device (2.1.1, 3.1.1).
    fn write_status(&mut self, value: u8) -> Action {
        const STEPS: [u8; 4] = [ACKNOWLEDGE, DRIVER, FEATURES_OK, DRIVER_OK];
        let before = self.status.bits();
        if value == 0 {
            return Action::Reset;
        }
        if before & FAILED != 0 {
            return Action::None;
        }
        if value & FAILED != 0 {
            self.status.set(FAILED);
            return Action::Stop;
        }
        let value = value & !NEEDS_RESET;
        let in_order = (1..=STEPS.len())
            .filter_map(|count| STEPS.get(..count))
            .any(|steps| steps.iter().fold(0, |bits, step| bits | step) == value);
        if !in_order || value & before != before & !NEEDS_RESET {
            return Action::None;
        }
        let features_settled = before & FEATURES_OK != 0 || self.features_are_acceptable();
        if value & FEATURES_OK != 0 && !features_settled {
            self.status.set(value & (ACKNOWLEDGE | DRIVER));
            return Action::None;
        }
        self.status.set(value);
        match (value & !before) & DRIVER_OK {
            0 => Action::None,
            _ => Action::Start,
        }
    }

    /// Whether all accepted features were offered, and VERSION_1 is among them: the device
    /// has no legacy interface (2.2.2).
    fn features_are_acceptable(&self) -> bool {
        !self.accepted_beyond
            && self.accepted & !u128::from(self.offered) == 0
            && self.accepted & (1 << VIRTIO_F_VERSION_1) != 0
    }

    /// Writes a register of the selected queue, between FEATURES_OK and DRIVER_OK and before
    /// the queue is enabled (4.1.4.3.2). Later writes change nothing until the reset, so no
    /// thread sees a change.
    fn write_queue(&mut self, at: u64, size: usize, value: u32) {
        if self.status.bits() != ACKNOWLEDGE | DRIVER | FEATURES_OK {
            return;
        }
        let select = usize::from(self.queue_select);
        let Some(queue) = self.queues.get_mut(select).filter(|queue| !queue.enabled) else {
            return;
        };
        let narrow = low_u16(value);
        match (at, size) {
            (offset::QUEUE_SIZE, 2) if narrow.is_power_of_two() && narrow <= queue.limit => {
                queue.layout.size = narrow;
            }
            (offset::QUEUE_MSIX_VECTOR, 2) => queue.vector = self.status.valid_vector(narrow),
            (offset::QUEUE_ENABLE, 2) => queue.enabled = narrow == 1,
            (at, 4) => write_address(&mut queue.layout, at, value),
            _ => {}
        }
    }
}

/// Returns 32 of 128 feature bits. Any other selector reads as 0 (4.1.4.3.1).
fn word(bits: u128, select: u32) -> u32 {
    word_shift(select).map_or(0, |shift| low_u32(bits >> shift))
}

/// Returns the first bit of the word of a selector, if it is one of the four.
fn word_shift(select: u32) -> Option<u32> {
    (select < 4).then(|| 32 * select)
}

/// Returns the address register that `at` is a half of, and the shift of that half.
fn address_register(layout: &mut QueueLayout, at: u64) -> Option<(&mut u64, u32)> {
    let register = match at & !7 {
        offset::QUEUE_DESC => &mut layout.descriptors,
        offset::QUEUE_DRIVER => &mut layout.avail,
        offset::QUEUE_DEVICE => &mut layout.used,
        _ => return None,
    };
    match at & 7 {
        0 => Some((register, 0)),
        4 => Some((register, 32)),
        _ => None,
    }
}

fn read_address(layout: &QueueLayout, at: u64) -> u32 {
    let mut copy = *layout;
    let found = address_register(&mut copy, at);
    found.map_or(0, |(address, shift)| low_u32(*address >> shift))
}

fn write_address(layout: &mut QueueLayout, at: u64, value: u32) {
    if let Some((address, shift)) = address_register(layout, at) {
        *address &= !(u64::from(u32::MAX) << shift);
        *address |= u64::from(value) << shift;
    }
}

#[cfg(test)]
mod tests;
