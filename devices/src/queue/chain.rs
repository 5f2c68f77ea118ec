//! The walk along a descriptor chain (virtio 1.2, 2.7.5), which makes a [`Request`] of it.
//! Each descriptor is copied from guest memory once, and only the copy is checked and
//! used.

use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::QueueLayout;
use crate::Memory;
use crate::error::GuestError;
use crate::number::index;
use crate::request::Request;

/// Bytes of a descriptor in guest memory (struct virtq_desc, 2.7.5).
const DESCRIPTOR_BYTES: u32 = 16;

const _: () = assert!(size_of::<Descriptor>() == DESCRIPTOR_BYTES as usize);

/// Adds the chain that starts at `head` to `request`.
pub(super) fn walk<'m>(
    memory: &'m Memory,
    layout: &QueueLayout,
    indirect: bool,
    head: u16,
    request: &mut Request<'m>,
) -> Result<(), GuestError> {
    request.begin_chain(head);
    let queue = Table { address: layout.descriptors, size: layout.size.into() };
    let mut room = Room { size: layout.size, left: layout.size };
    let mut last = walk_table(memory, &queue, head, &mut room, request)?;
    if last.refers_to_indirect_table() {
        if !indirect {
            return Err(GuestError::Indirect("without the feature"));
        }
        let table = indirect_table(memory, last)?;
        last = walk_table(memory, &table, 0, &mut room, request)?;
        if last.refers_to_indirect_table() {
            return Err(GuestError::Indirect("inside an indirect table"));
        }
    }
    Ok(())
}

/// The number of descriptors that a chain may still have. A chain has at most as many as
/// the queue, also in a longer indirect table (2.7.5.3.1). A chain with a loop has more.
struct Room {
    size: u16,
    left: u16,
}

impl Room {
    fn take(&mut self) -> Result<(), GuestError> {
        self.left = self.left.checked_sub(1).ok_or(GuestError::ChainTooLong { size: self.size })?;
        Ok(())
    }
}

/// Follows a chain inside one table up to its end, or up to an indirect descriptor.
/// Returns the last descriptor. An indirect descriptor is not a part of the request: the
/// descriptors in its table are.
fn walk_table<'m>(
    memory: &'m Memory,
    table: &Table,
    start: u16,
    room: &mut Room,
    request: &mut Request<'m>,
) -> Result<Descriptor, GuestError> {
    let mut index = start;
    loop {
        let descriptor = table.get(memory, index)?;
        if descriptor.refers_to_indirect_table() {
            return Ok(descriptor);
        }
        room.take()?;
        add_buffer(memory, descriptor, request)?;
        if !descriptor.has_next() {
            return Ok(descriptor);
        }
        index = descriptor.next();
    }
}

fn add_buffer<'m>(
    memory: &'m Memory,
    descriptor: Descriptor,
    request: &mut Request<'m>,
) -> Result<(), GuestError> {
    let (address, length) = (descriptor.addr(), descriptor.len());
    let to_guest = descriptor.is_write_only();
    if !to_guest && request.chain_has_room() {
        return Err(GuestError::ReadableAfterWritable);
    }
    if length == 0 {
        return Ok(()); // No byte is read or written, so the address does not matter.
    }
    let outside = |_| GuestError::BufferAddress { address: address.0, length };
    let slice = memory.get_slice(address, index(length)).map_err(outside)?;
    request.push(&slice, to_guest)
}

/// Returns the table of an indirect descriptor, all of it in RAM (2.7.5.3).
fn indirect_table(memory: &Memory, descriptor: Descriptor) -> Result<Table, GuestError> {
    let (address, length) = (descriptor.addr(), descriptor.len());
    if descriptor.has_next() {
        return Err(GuestError::Indirect("with NEXT"));
    }
    if length == 0 || !length.is_multiple_of(DESCRIPTOR_BYTES) {
        return Err(GuestError::Indirect("table with a length that is not a multiple of 16"));
    }
    let size = length / DESCRIPTOR_BYTES;
    let outside = |_| GuestError::BufferAddress { address: address.0, length };
    memory.get_slice(address, index(length)).map_err(outside)?;
    Ok(Table { address: address.0, size })
}

/// A table of descriptors in RAM: the queue's own, or an indirect one.
struct Table {
    address: u64,
    size: u32,
}

impl Table {
    fn get(&self, memory: &Memory, index: u16) -> Result<Descriptor, GuestError> {
        if u32::from(index) >= self.size {
            return Err(GuestError::DescriptorIndex { index, size: self.size });
        }
        // No overflow: the whole table was checked to lie in RAM.
        let address = self.address + u64::from(DESCRIPTOR_BYTES) * u64::from(index);
        let outside = |_| GuestError::BufferAddress { address, length: DESCRIPTOR_BYTES };
        memory.read_obj(GuestAddress(address)).map_err(outside)
    }
}
