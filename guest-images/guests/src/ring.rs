//! The memory of a split virtqueue (virtio 1.2, 2.7): all fields by name, without any rule.
//! [`crate::queue`] obeys the rules on top of this; a hostile test does not.

use crate::memory::Region;

/// Descriptor flags (2.7.5).
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// Ring flags (2.7.6, 2.7.8): no notification is needed.
pub(crate) const NO_NOTIFY: u16 = 1;

/// A descriptor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptor {
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) flags: u16,
    pub(crate) next: u16,
}

/// The three parts of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ring {
    size: u16,
    /// Each of `size` entries is an address (8), a length (4), flags (2) and next (2).
    pub(crate) descriptors: Region,
    /// flags (2), index (2), `size` times head (2), used_event (2).
    pub(crate) avail: Region,
    /// flags (2), index (2), `size` times head (4) and length (4), avail_event (2).
    pub(crate) used: Region,
}

impl Ring {
    /// Allocates a queue of `size` entries, aligned as 2.7 requires.
    pub(crate) fn new(size: u16) -> Self {
        let entries = u64::from(size);
        Self {
            size,
            descriptors: Region::take(16 * entries, 16),
            avail: Region::take(6 + 2 * entries, 2),
            used: Region::take(6 + 8 * entries, 4),
        }
    }

    /// Returns the number of entries.
    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    /// Sets all memory of the queue to its initial state.
    pub(crate) fn clear(&self) {
        self.descriptors.clear();
        self.avail.clear();
        self.used.clear();
    }

    /// Writes a descriptor.
    pub(crate) fn set_descriptor(&self, index: u16, descriptor: Descriptor) {
        let at = 16 * self.slot(index);
        self.descriptors.write(at, descriptor.address);
        self.descriptors.write(at + 8, descriptor.length);
        self.descriptors.write(at + 12, descriptor.flags);
        self.descriptors.write(at + 14, descriptor.next);
    }

    /// Writes an entry of the avail ring. `index` is the free-running index.
    pub(crate) fn set_avail(&self, index: u16, head: u16) {
        self.avail.write(4 + 2 * self.slot(index), head);
    }

    /// Returns the avail ring's index.
    pub(crate) fn avail_index(&self) -> u16 {
        self.avail.read(2)
    }

    /// Writes the avail ring's index.
    pub(crate) fn set_avail_index(&self, index: u16) {
        self.avail.write(2, index);
    }

    /// Sets the used index from which on the driver wants an interrupt (EVENT_IDX).
    pub(crate) fn set_used_event(&self, index: u16) {
        self.avail.write(4 + 2 * u64::from(self.size), index);
    }

    /// Returns the used ring's flags.
    pub(crate) fn used_flags(&self) -> u16 {
        self.used.read(0)
    }

    /// Returns the used ring's index.
    pub(crate) fn used_index(&self) -> u16 {
        self.used.read(2)
    }

    /// Returns an entry of the used ring: head and length.
    pub(crate) fn used(&self, index: u16) -> (u32, u32) {
        let at = 4 + 8 * self.slot(index);
        (self.used.read(at), self.used.read(at + 4))
    }

    /// Returns the avail index from which on the device wants a notification (EVENT_IDX).
    pub(crate) fn avail_event(&self) -> u16 {
        self.used.read(4 + 8 * u64::from(self.size))
    }

    /// Overwrites the avail index that only the device should write (EVENT_IDX).
    pub(crate) fn set_avail_event(&self, index: u16) {
        self.used.write(4 + 8 * u64::from(self.size), index);
    }

    fn slot(&self, index: u16) -> u64 {
        (index % self.size).into()
    }
}
