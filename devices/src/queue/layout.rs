//! Plain values: the addresses of a queue, which the transport's registers
//! ([`crate::registers`]) contain, and how far [`super::Virtqueue`] has served it.

use serde::{Deserialize, Serialize};
use vm_memory::{GuestAddress, GuestMemoryBackend};

use crate::Memory;
use crate::error::GuestError;

/// The size and the addresses of a queue, as the driver has set them in the registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueLayout {
    /// The number of entries; a power of two.
    pub size: u16,
    /// Guest physical address of the descriptor table.
    pub descriptors: u64,
    /// Guest physical address of the avail ring ("driver area").
    pub avail: u64,
    /// Guest physical address of the used ring ("device area").
    pub used: u64,
}

impl QueueLayout {
    /// Checks what later accesses rely on: a legal size, and rings that are aligned (2.7.1)
    /// and completely in RAM.
    pub(super) fn check(&self, memory: &Memory) -> Result<(), GuestError> {
        if !self.size.is_power_of_two() || self.size > 32768 {
            return Err(GuestError::QueueSize(self.size));
        }
        let size = usize::from(self.size);
        let parts = [
            ("descriptor table", self.descriptors, 16, 16 * size),
            ("avail ring", self.avail, 2, 6 + 2 * size),
            ("used ring", self.used, 4, 6 + 8 * size),
        ];
        for (ring, address, align, length) in parts {
            let in_ram = memory.get_slice(GuestAddress(address), length).is_ok();
            if !address.is_multiple_of(align) || !in_ram {
                return Err(GuestError::Ring { ring, address });
            }
        }
        Ok(())
    }
}

/// How far a queue has been served: all that is needed to continue from there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueuePosition {
    /// The index of the next entry of the avail ring to take.
    pub next_avail: u16,
    /// The index of the next entry of the used ring to fill.
    pub next_used: u16,
}
