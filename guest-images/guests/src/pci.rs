//! The PCI bus, through the ports of configuration mechanism #1 (PCI 3.0, 3.2.2.3.2): finds
//! functions, their memory and their capabilities.

use crate::memory::Region;
use crate::ports;

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// Offsets in the header of a function (6.1).
const ID: u8 = 0x00;
const COMMAND: u8 = 0x04;
const BAR0: u8 = 0x10;
const HEADER_TYPE: u8 = 0x0c;
const CAPABILITIES: u8 = 0x34;

/// A bit in the dword of the header type: the slot has more than one function.
const MULTI_FUNCTION: u32 = 1 << 23;

/// Bits of the command register: respond to memory accesses, and be bus master.
const MEMORY_AND_MASTER: u32 = 1 << 1 | 1 << 2;

/// A function on bus 0, the only bus of this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function {
    slot: u8,
    number: u8,
}

/// A capability: its ID and its offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capability {
    pub(crate) id: u8,
    pub(crate) at: u8,
}

impl Function {
    /// Returns the functions of a vendor in the order of the bus, each with its device number.
    pub(crate) fn of(vendor: u16) -> impl Iterator<Item = (u16, Self)> {
        (0..32).flat_map(Self::of_slot).filter_map(move |function| {
            let [low, high, a, b] = function.read(ID).to_le_bytes();
            (u16::from_le_bytes([low, high]) == vendor)
                .then_some((u16::from_le_bytes([a, b]), function))
        })
    }

    fn of_slot(slot: u8) -> impl Iterator<Item = Self> {
        let first = Self { slot, number: 0 };
        // A function that does not exist reads as ones.
        let there = first.read(ID) != u32::MAX;
        let several = there && first.read(HEADER_TYPE) & MULTI_FUNCTION != 0;
        (0..if several { 8 } else { 1 }).map(move |number| Self { slot, number })
    }

    /// Reads 32 bits of the configuration space.
    pub(crate) fn read(&self, at: u8) -> u32 {
        self.select(at);
        ports::read(CONFIG_DATA)
    }

    /// Writes 32 bits of the configuration space.
    pub(crate) fn write(&self, at: u8, value: u32) {
        self.select(at);
        ports::write(CONFIG_DATA, value);
    }

    fn select(&self, at: u8) {
        let place = u32::from(self.slot) << 11 | u32::from(self.number) << 8;
        ports::write(CONFIG_ADDRESS, ENABLE | place | u32::from(at & !3));
    }

    /// Enables the function, and finds the memory of its first BAR by the procedure of 6.2.5.1: the
    /// bits that stay 0 after a write of all ones give the size.
    pub(crate) fn first_bar(&self) -> Region {
        self.write(COMMAND, 0);
        let base = self.read(BAR0) & !0xf;
        self.write(BAR0, u32::MAX);
        let size = (!(self.read(BAR0) & !0xf)).wrapping_add(1);
        self.write(BAR0, base);
        self.write(COMMAND, MEMORY_AND_MASTER);
        match Region::outside(base.into(), size.into()) {
            Some(region) if base != 0 && size != 0 => region,
            _ => fail!("probe: BAR 0 of {self:?} at {base:#x}, size {size:#x}"),
        }
    }

    /// Returns the list of capabilities (6.7).
    pub(crate) fn capabilities(&self) -> impl Iterator<Item = Capability> {
        let function = *self;
        let [first, ..] = self.read(CAPABILITIES).to_le_bytes();
        let mut next = first & !3;
        // A list with a loop would be longer than the space that it is in.
        (0..48).map_while(move |_| {
            let at = next;
            let [id, link, ..] = function.read(at).to_le_bytes();
            next = link & !3;
            (at != 0).then_some(Capability { id, at })
        })
    }
}
