//! MSI-X (PCI 3.0, 6.8.2): where the messages of a function go.

use crate::memory::Region;
use crate::pci::{Capability, Function};

/// The capability's ID.
pub(crate) const CAPABILITY: u8 = 0x11;

/// Bits of message control, in the upper half of the capability's first 32 bits: enable, mask all,
/// and the number of the last vector.
const ENABLE: u32 = 1 << 31;
const FUNCTION_MASK: u32 = 1 << 30;
const LAST: u32 = 0x7ff << 16;

/// Offsets in a table entry, and the size of an entry.
const ADDRESS_LOW: u64 = 0;
const ADDRESS_HIGH: u64 = 4;
const DATA: u64 = 8;
const CONTROL: u64 = 12;
const ENTRY: u64 = 16;

/// The MSI-X table of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Msix {
    function: Function,
    at: u8,
    /// The entries of the table.
    pub(crate) table: Region,
    /// The pending bits (PCI 3.0, 6.8.2.1).
    pending: Region,
}

impl Msix {
    /// Returns the table of a function. It is in the first BAR.
    pub(crate) fn new(function: Function, capability: Capability, bar: &Region) -> Self {
        let at = capability.at;
        let entries = u64::from((function.read(at) & LAST) >> 16) + 1;
        let [table, pending] = [function.read(at + 4), function.read(at + 8)];
        if (table | pending) & 7 != 0 {
            fail!("probe: the MSI-X tables are not in BAR 0");
        }
        let table = bar.part(u64::from(table & !7), entries * ENTRY);
        let pending = bar.part(u64::from(pending & !7), entries.div_ceil(64) * 8);
        Self { function, at, table, pending }
    }

    /// Enables or disables MSI-X for the function.
    pub(crate) fn enable(&self, on: bool) {
        let control = self.function.read(self.at) & !(ENABLE | FUNCTION_MASK);
        self.function.write(self.at, if on { control | ENABLE } else { control });
    }

    /// Sets the message of a vector, and unmasks it.
    pub(crate) fn set(&self, vector: u16, (address, data): (u64, u32)) {
        let entry = self.entry(vector);
        self.mask(vector, true);
        let [low, high] = [address & 0xffff_ffff, address >> 32];
        entry.write(ADDRESS_LOW, u32::try_from(low).unwrap_or(0));
        entry.write(ADDRESS_HIGH, u32::try_from(high).unwrap_or(0));
        entry.write(DATA, data);
        self.mask(vector, false);
    }

    /// Masks or unmasks a vector.
    pub(crate) fn mask(&self, vector: u16, masked: bool) {
        self.entry(vector).write(CONTROL, u32::from(masked));
    }

    /// Whether a vector that is masked is pending.
    pub(crate) fn is_pending(&self, vector: u16) -> bool {
        let word: u32 = self.pending.read(u64::from(vector / 32) * 4);
        word >> (vector % 32) & 1 != 0
    }

    fn entry(&self, vector: u16) -> Region {
        self.table.part(u64::from(vector) * ENTRY, ENTRY)
    }
}
