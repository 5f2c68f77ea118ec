//! The driver's side of a split virtqueue, by hand. [`Ring::offer`] does what a
//! good driver does; everything else writes one field and asks no questions, so
//! that a hostile ring is as easy to make as a good one.

use std::sync::atomic::Ordering;

use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use vm_memory::{Bytes, GuestAddress};

use crate::Memory;
use crate::queue::QueueLayout;

/// VIRTQ_DESC_F_NEXT.
pub const NEXT: u16 = 1;
/// VIRTQ_DESC_F_WRITE.
pub const WRITE: u16 = 2;
/// VIRTQ_DESC_F_INDIRECT.
pub const INDIRECT: u16 = 4;

const _: () = assert!(NEXT as u32 == VRING_DESC_F_NEXT && WRITE as u32 == VRING_DESC_F_WRITE);

/// A descriptor as the driver writes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Desc {
    /// Guest physical address.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
    /// NEXT, WRITE, INDIRECT.
    pub flags: u16,
    /// The next descriptor of the chain.
    pub next: u16,
}

/// One entry of the used ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Head of the chain.
    pub id: u32,
    /// Bytes written for the driver.
    pub len: u32,
}

/// One buffer of a request that a good driver makes.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// Bytes for the device.
    FromGuest(&'a [u8]),
    /// Room for this many bytes.
    ToGuest(u32),
}

/// A virtqueue in guest memory and the driver's place in it.
#[derive(Debug, Clone)]
pub struct Ring {
    memory: Memory,
    /// The addresses of the rings.
    pub layout: QueueLayout,
    /// Where the buffers of the next request go; wraps within `buffers`.
    next_buffer: u64,
    next_desc: u16,
    /// The avail index that the driver has published.
    pub avail_index: u16,
    /// The used index up to which it has looked.
    pub used_seen: u16,
}

/// The avail ring lies this far behind the descriptor table.
const AVAIL: u64 = 0x10_0000;
/// The used ring lies this far behind the descriptor table.
const USED: u64 = 0x18_0000;
/// Room for the buffers.
const BUFFERS: std::ops::Range<u64> = 0x20_0000..0x40_0000;

impl Ring {
    /// What a ring and its buffers need at most.
    pub const BYTES: u64 = 0x40_0000;

    /// Rings of `size` entries from `base` on; the memory there is zero.
    pub fn new(memory: &Memory, base: u64, size: u16) -> Self {
        let layout =
            QueueLayout { size, descriptors: base, avail: base + AVAIL, used: base + USED };
        let next_buffer = base + BUFFERS.start;
        let memory = memory.clone();
        Self { memory, layout, next_buffer, next_desc: 0, avail_index: 0, used_seen: 0 }
    }

    /// This ring and the driver's place in it, in another memory with the same contents.
    #[must_use]
    pub fn moved_to(&self, memory: &Memory) -> Self {
        Self { memory: memory.clone(), ..self.clone() }
    }

    /// Restores the state in which a driver sets a queue up.
    pub fn clear(&mut self) {
        let entries = usize::from(self.layout.size);
        self.write(self.layout.avail, &vec![0; 6 + 2 * entries]);
        self.write(self.layout.used, &vec![0; 6 + 8 * entries]);
        (self.next_desc, self.avail_index, self.used_seen) = (0, 0, 0);
        self.next_buffer = self.layout.descriptors + BUFFERS.start;
    }

    /// Make a chain of `parts`, and publish it; its head.
    pub fn offer(&mut self, parts: &[Part<'_>]) -> u16 {
        let descs: Vec<_> = parts.iter().map(|part| self.buffer(*part)).collect();
        self.offer_chain(&descs)
    }

    /// Chain `descs` (their `next` and NEXT are filled in) and publish the chain.
    pub fn offer_chain(&mut self, descs: &[Desc]) -> u16 {
        let (head, size) = (self.next_desc, self.layout.size);
        for (number, desc) in (1..).zip(descs) {
            let index = self.next_desc;
            self.next_desc = (index + 1) % size;
            let more = if number < descs.len() { NEXT } else { 0 };
            let desc = Desc { flags: desc.flags | more, next: self.next_desc, ..*desc };
            self.set_desc(index, desc);
        }
        self.publish(head);
        head
    }

    /// A buffer for `part`, filled.
    pub fn buffer(&mut self, part: Part<'_>) -> Desc {
        let (len, flags) = match part {
            Part::FromGuest(bytes) => (u32::try_from(bytes.len()).unwrap(), 0),
            Part::ToGuest(len) => (len, WRITE),
        };
        let end = self.layout.descriptors + BUFFERS.end;
        if self.next_buffer + u64::from(len) > end {
            self.next_buffer = self.layout.descriptors + BUFFERS.start;
        }
        let addr = self.next_buffer;
        self.next_buffer += u64::from(len).next_multiple_of(16);
        if let Part::FromGuest(bytes) = part {
            self.write(addr, bytes);
        }
        Desc { addr, len, flags, next: 0 }
    }

    /// Put `head` into the next avail entry and move the index past it.
    pub fn publish(&mut self, head: u16) {
        self.set_avail_entry(self.avail_index, head);
        self.avail_index = self.avail_index.wrapping_add(1);
        self.set_avail_index(self.avail_index);
    }

    /// Write descriptor `index`.
    pub fn set_desc(&self, index: u16, desc: Desc) {
        self.set_desc_in(self.layout.descriptors, index, desc);
    }

    /// Write a descriptor of the table at `table`.
    pub fn set_desc_in(&self, table: u64, index: u16, desc: Desc) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&desc.addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&desc.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&desc.flags.to_le_bytes());
        bytes[14..].copy_from_slice(&desc.next.to_le_bytes());
        self.write(table + 16 * u64::from(index), &bytes);
    }

    /// Descriptor `index`.
    pub fn desc(&self, index: u16) -> Desc {
        let mut bytes = [0; 16];
        self.read(self.layout.descriptors + 16 * u64::from(index), &mut bytes);
        Desc {
            addr: u64::from_le_bytes(bytes[..8].try_into().unwrap()),
            len: u32::from_le_bytes(bytes[8..12].try_into().unwrap()),
            flags: u16::from_le_bytes(bytes[12..14].try_into().unwrap()),
            next: u16::from_le_bytes(bytes[14..].try_into().unwrap()),
        }
    }

    /// The contents of the device-writable buffers of the chain with this head.
    pub fn bytes(&self, head: u16) -> Vec<u8> {
        let (mut index, mut all) = (head, Vec::new());
        loop {
            let desc = self.desc(index);
            if desc.flags & WRITE != 0 {
                let mut bytes = vec![0; usize::try_from(desc.len).unwrap()];
                self.read(desc.addr, &mut bytes);
                all.extend(bytes);
            }
            if desc.flags & NEXT == 0 {
                return all;
            }
            index = desc.next;
        }
    }

    /// The next used entry that the driver has not seen, if there is one.
    pub fn take_used(&mut self) -> Option<Used> {
        if self.used_index() == self.used_seen {
            return None;
        }
        let used = self.used_entry(self.used_seen);
        self.used_seen = self.used_seen.wrapping_add(1);
        Some(used)
    }

    /// avail.idx.
    pub fn set_avail_index(&self, index: u16) {
        self.store(self.layout.avail + 2, index);
    }

    /// avail.ring\[index % size\].
    pub fn set_avail_entry(&self, index: u16, head: u16) {
        self.store(self.layout.avail + 4 + 2 * u64::from(index % self.layout.size), head);
    }

    /// avail.flags.
    pub fn set_avail_flags(&self, flags: u16) {
        self.store(self.layout.avail, flags);
    }

    /// avail.used_event.
    pub fn set_used_event(&self, index: u16) {
        self.store(self.layout.avail + 4 + 2 * u64::from(self.layout.size), index);
    }

    /// used.flags.
    pub fn used_flags(&self) -> u16 {
        self.load(self.layout.used)
    }

    /// used.idx.
    pub fn used_index(&self) -> u16 {
        self.load(self.layout.used + 2)
    }

    /// used.avail_event.
    pub fn avail_event(&self) -> u16 {
        self.load(self.layout.used + 4 + 8 * u64::from(self.layout.size))
    }

    /// used.ring\[index % size\].
    pub fn used_entry(&self, index: u16) -> Used {
        let mut bytes = [0; 8];
        self.read(self.layout.used + 4 + 8 * u64::from(index % self.layout.size), &mut bytes);
        let [a, b, c, d, e, f, g, h] = bytes;
        Used { id: u32::from_le_bytes([a, b, c, d]), len: u32::from_le_bytes([e, f, g, h]) }
    }

    /// Write guest memory.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(address)).unwrap();
    }

    /// Read guest memory.
    pub fn read(&self, address: u64, bytes: &mut [u8]) {
        self.memory.read_slice(bytes, GuestAddress(address)).unwrap();
    }

    fn store(&self, address: u64, value: u16) {
        self.memory.store(value.to_le(), GuestAddress(address), Ordering::SeqCst).unwrap();
    }

    fn load(&self, address: u64) -> u16 {
        u16::from_le(self.memory.load(GuestAddress(address), Ordering::SeqCst).unwrap())
    }
}
