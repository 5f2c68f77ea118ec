//! The PCI configuration space of a virtio device: the header that the guest
//! enumerates, one 32-bit memory BAR, MSI-X, and the virtio capabilities with the places
//! of the registers in that BAR (virtio 1.2, 4.1.4). [`crate::registers`] has the
//! registers themselves.

use crate::msix;
use crate::number::{index, low_u8, low_u32};

mod state;

pub(crate) use state::ConfigSpaceState;

/// The parts of the BAR. Each has a page of its own.
pub(crate) mod bar {
    use std::ops::Range;

    /// Bytes of the BAR, and the distance between the BARs of two devices.
    pub(crate) const SIZE: u32 = 0x8000;
    pub(crate) const COMMON: Range<u64> = 0x0000..0x1000;
    pub(crate) const ISR: Range<u64> = 0x1000..0x2000;
    pub(crate) const DEVICE: Range<u64> = 0x2000..0x3000;
    /// The notify registers, one for each queue, [`NOTIFY_STEP`] apart.
    pub(crate) const NOTIFY: Range<u64> = 0x3000..0x4000;
    pub(crate) const MSIX_TABLE: Range<u64> = 0x4000..0x5000;
    pub(crate) const MSIX_PENDING: Range<u64> = 0x5000..0x6000;

    /// notify_off_multiplier (4.1.4.4): every queue has its own address, so that each can
    /// be an ioeventfd for any value.
    pub(crate) const NOTIFY_STEP: u32 = 4;
}

/// Red Hat's vendor number, which all virtio devices have (4.1.2.1).
const VENDOR: u16 = 0x1af4;
/// The PCI device ID of a modern virtio device is this number plus its virtio ID.
const DEVICE_BASE: u16 = 0x1040;

const COMMAND: usize = 0x04;
/// Command bits that can be set: memory space, bus master, INTx disable.
const COMMAND_BITS: u16 = 1 << 1 | 1 << 2 | 1 << 10;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
/// The status register, and its bits: an interrupt is pending; a capability list exists.
pub(crate) const STATUS: usize = 0x06;
pub(crate) const STATUS_INTERRUPT: u8 = 1 << 3;
const STATUS_CAPABILITIES: u8 = 1 << 4;
const BAR0: usize = 0x10;
const CAPABILITY_POINTER: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;

const CAPABILITY_MSIX: u8 = 0x11;
const CAPABILITY_VENDOR: u8 = 0x09;
/// Types of virtio capabilities (struct virtio_pci_cap).
const COMMON_CFG: u8 = 1;
const NOTIFY_CFG: u8 = 2;
const ISR_CFG: u8 = 3;
const DEVICE_CFG: u8 = 4;
const PCI_CFG: u8 = 5;

/// An access through the capability VIRTIO_PCI_CAP_PCI_CFG (4.1.4.9), the
/// window for drivers that cannot map the BAR.
pub(crate) struct Window {
    pub(crate) offset: u32,
    pub(crate) length: usize,
    /// The byte of the window's data with which the access begins.
    pub(crate) first: usize,
}

/// The 256 bytes of the configuration space.
pub(crate) struct ConfigSpace {
    bytes: [u8; 256],
    base: u32,
    /// The driver has written all ones to the BAR, to learn its size.
    sizing: bool,
    /// The offset of the next capability, and of the byte that will link to it.
    end: usize,
    link: usize,
    msix: usize,
    window: usize,
}

impl ConfigSpace {
    /// The configuration space of a device with virtio ID `id`, its BAR at `base`, and
    /// `vectors` MSI-X vectors.
    pub(crate) fn new(id: u16, base: u32, vectors: u16) -> Self {
        let mut space = Self {
            bytes: [0; 256],
            base,
            sizing: false,
            end: 0x40,
            link: CAPABILITY_POINTER,
            msix: 0,
            window: 0,
        };
        space.put(0x00, &VENDOR.to_le_bytes());
        space.put(0x02, &DEVICE_BASE.wrapping_add(id).to_le_bytes());
        space.put(STATUS, &[STATUS_CAPABILITIES]);
        // Revision 1 or higher: not transitional. Then the class code.
        space.put(0x08, &[1]);
        space.put(0x09, &class_code(id));
        space.put(0x2c, &VENDOR.to_le_bytes());
        // 4.1.2.1: 0x40 or more, lest a legacy driver take it for a device of its own.
        space.put(0x2e, &DEVICE_BASE.wrapping_add(id).to_le_bytes());
        space.put(BAR0, &base.to_le_bytes());
        space.add_capabilities(vectors);
        space
    }

    fn add_capabilities(&mut self, vectors: u16) {
        let mut msix = vectors.saturating_sub(1).to_le_bytes().to_vec();
        msix.extend(dword(bar::MSIX_TABLE.start)); // BAR 0 in the low three bits
        msix.extend(dword(bar::MSIX_PENDING.start));
        self.msix = self.add_capability(CAPABILITY_MSIX, &msix);
        self.add_virtio_capability(COMMON_CFG, bar::COMMON, &[]);
        self.add_virtio_capability(ISR_CFG, bar::ISR, &[]);
        self.add_virtio_capability(DEVICE_CFG, bar::DEVICE, &[]);
        self.add_virtio_capability(NOTIFY_CFG, bar::NOTIFY, &bar::NOTIFY_STEP.to_le_bytes());
        self.window = self.add_virtio_capability(PCI_CFG, 0..0, &[0; 4]);
    }

    /// Adds a struct virtio_pci_cap. Returns its offset.
    fn add_virtio_capability(
        &mut self,
        kind: u8,
        part: std::ops::Range<u64>,
        more: &[u8],
    ) -> usize {
        let length = low_u8((16 + more.len()) as u64);
        let mut body = vec![length, kind, 0, 0, 0, 0]; // BAR 0, id 0, padding
        body.extend(dword(part.start));
        body.extend(dword(part.end - part.start));
        body.extend(more);
        self.add_capability(CAPABILITY_VENDOR, &body)
    }

    /// Appends a capability to the list. Returns its offset.
    fn add_capability(&mut self, kind: u8, body: &[u8]) -> usize {
        let at = self.end;
        self.put(self.link, &[low_u8(at as u64)]);
        self.put(at, &[kind, 0]);
        self.put(at + 2, body);
        self.link = at + 1;
        self.end = (at + 2 + body.len()).next_multiple_of(4);
        at
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn u16_at(&self, at: usize) -> u16 {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }

    fn u32_at(&self, at: usize) -> u32 {
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Whether the device may access memory, which includes interrupt messages.
    pub(crate) fn bus_master(&self) -> bool {
        self.u16_at(COMMAND) & COMMAND_MASTER != 0
    }

    /// Whether the BAR answers to accesses, which includes doorbells.
    pub(crate) fn memory_enabled(&self) -> bool {
        self.u16_at(COMMAND) & COMMAND_MEMORY != 0
    }

    /// The MSI-X message control register, without the table size.
    pub(crate) fn msix_control(&self) -> u16 {
        self.u16_at(self.msix + 2) & (msix::ENABLE | msix::FUNCTION_MASK)
    }

    /// Returns the access that the PCI_CFG window is set up for, if `at` lies in the
    /// window's data. None if the specification does not allow the access (4.1.4.9.1).
    pub(crate) fn window(&self, at: usize) -> Option<Window> {
        let data = self.window + 16;
        if !(data..data + 4).contains(&at) {
            return None;
        }
        let [bar, offset, length] = [
            self.u32_at(self.window + 4),
            self.u32_at(self.window + 8),
            self.u32_at(self.window + 12),
        ];
        let legal = bar & 0xff == 0
            && matches!(length, 1 | 2 | 4)
            && offset.is_multiple_of(length)
            && offset < bar::SIZE;
        let length = index(length);
        legal.then_some(Window { offset, length, first: at - data })
    }

    /// Reads bytes. Bytes behind the end read as ones.
    pub(crate) fn read(&self, at: usize, data: &mut [u8]) {
        for (index, byte) in data.iter_mut().enumerate() {
            let here = at.saturating_add(index);
            *byte = match here.checked_sub(BAR0) {
                Some(part @ 0..4) if self.sizing => {
                    (!(bar::SIZE - 1)).to_le_bytes().get(part).copied().unwrap_or(0)
                }
                _ => self.bytes.get(here).copied().unwrap_or(0xff),
            };
        }
    }

    /// Writes the bits that a driver can change. The BAR does not move: it is where the
    /// guest's firmware would have put it, and its doorbells are wired there.
    pub(crate) fn write(&mut self, at: usize, data: &[u8]) {
        if at == BAR0 && data.len() == 4 {
            self.sizing = data == [0xff; 4];
            return;
        }
        for (index, byte) in data.iter().enumerate() {
            let here = at.saturating_add(index);
            let mask = self.writable(here);
            if let Some(place) = self.bytes.get_mut(here) {
                *place = *place & !mask | byte & mask;
            }
        }
    }

    /// Returns the bits of a byte that a driver can change.
    fn writable(&self, at: usize) -> u8 {
        let [command_low, command_high] = COMMAND_BITS.to_le_bytes();
        let [_, msix_high] = (msix::ENABLE | msix::FUNCTION_MASK).to_le_bytes();
        match at {
            COMMAND => command_low,
            at if at == COMMAND + 1 => command_high,
            INTERRUPT_LINE => 0xff,
            at if at == self.msix + 3 => msix_high,
            // The window's bar, offset and length; its data are not kept here.
            at if at == self.window + 4 => 0xff,
            at if (self.window + 8..self.window + 16).contains(&at) => 0xff,
            _ => 0,
        }
    }

    /// The address of the BAR.
    pub(crate) fn base(&self) -> u32 {
        self.base
    }
}

fn dword(value: u64) -> [u8; 4] {
    low_u32(value).to_le_bytes()
}

/// Returns programming interface, subclass and class, as lspci shows them.
fn class_code(id: u16) -> [u8; 3] {
    match id {
        1 => [0x00, 0x00, 0x02], // network, Ethernet
        2 => [0x00, 0x80, 0x01], // storage, other
        3 => [0x00, 0x80, 0x07], // communication, other
        _ => [0x00, 0x00, 0xff], // unassigned
    }
}

#[cfg(test)]
mod tests;
