//! Reads what lguest passes to a kernel: the zero page, with the memory map and the command line
//! (Documentation/arch/x86/zero-page.rst).

use crate::memory::Region;

/// Offsets in struct boot_params.
const EXT_CMD_LINE_PTR: u64 = 0x0c8;
const E820_ENTRIES: u64 = 0x1e8;
const CMD_LINE_PTR: u64 = 0x228;
const E820_TABLE: u64 = 0x2d0;
/// The size of an entry: address (8), size (8), type (4).
const E820_ENTRY: u64 = 20;

/// The entry type of RAM.
pub(crate) const RAM: u32 = 1;

/// The zero page.
pub(crate) struct BootParams(Region);

/// An entry of the memory map.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) kind: u32,
}

impl BootParams {
    /// Returns the zero page at this address, which must be outside of the guest's image.
    pub(crate) fn at(address: u64) -> Self {
        match Region::outside(address, 4096) {
            Some(region) => Self(region),
            None => fail!("probe: zero page at {address:#x}, in the guest's image"),
        }
    }

    /// Returns the entries of the memory map.
    pub(crate) fn memory_map(&self) -> impl Iterator<Item = Range> {
        let page = self.0;
        let count: u8 = page.read(E820_ENTRIES);
        (0..u64::from(count)).map(move |index| {
            // The entries are packed, so their fields are not aligned.
            let mut bytes = [0; 20];
            page.read_bytes(E820_TABLE + index * E820_ENTRY, &mut bytes);
            let [low, high, kind] = [0, 8, 12].map(|at| {
                let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
                field.map_or(0, |field| u64::from_le_bytes(*field))
            });
            let [_, _, _, _, a, b, c, d] = kind.to_le_bytes();
            Range { start: low, length: high, kind: u32::from_le_bytes([a, b, c, d]) }
        })
    }

    /// Copies the command line into `buffer`, as far as it fits, and returns its words.
    pub(crate) fn command_line<'b>(&self, buffer: &'b mut [u8]) -> Arguments<'b> {
        let low = u64::from(self.0.read::<u32>(CMD_LINE_PTR));
        let address = u64::from(self.0.read::<u32>(EXT_CMD_LINE_PTR)) << 32 | low;
        if let Some(text) = Region::outside(address, buffer.len() as u64) {
            text.read_bytes(0, buffer);
        }
        let text = buffer.split(|byte| *byte == 0).next().unwrap_or_default();
        Arguments(core::str::from_utf8(text).unwrap_or_else(|_| fail!("probe: not UTF-8")))
    }
}

/// The words of the command line, including those for Linux.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a>(&'a str);

impl<'a> Arguments<'a> {
    /// Returns what follows `name=`.
    pub(crate) fn value(&self, name: &str) -> Option<&'a str> {
        let mut words = self.0.split_ascii_whitespace();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether the command line has this word.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.0.split_ascii_whitespace().any(|found| found == word)
    }
}
