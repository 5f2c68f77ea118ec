//! The block device (virtio 1.2, 5.2): a disk whose contents are an [`Image`]. Each of
//! its queues has a thread. Where possible, a thread serves a request with one system
//! call, which reads or writes guest memory directly. `block/command.rs` parses
//! requests, [`Image`] carries them out.

mod command;
mod cow;
mod file;
mod image;

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ,
    VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_WRITE_ZEROES,
    VIRTIO_BLK_ID_BYTES,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;

pub use cow::{FileStamp, MAGIC as PRIVATE_MAGIC, PrivateError, PrivateFile};
pub use image::Image;

use crate::device::{ConfigField, Device, QueueSpec, Service};
use crate::error::{GuestError, ServeError};
use crate::number::{low_u8, u16_constant};
use crate::request::Request;
use crate::state::{self, StateError, ensure};
use command::{BlockStatus, Command, Extent};

/// Bytes of a sector, the unit of the protocol. A disk may have larger blocks (5.2.4).
pub const SECTOR: u64 = 512;

/// Bytes of the longest serial number (5.2.6).
pub const SERIAL_BYTES: usize = VIRTIO_BLK_ID_BYTES as usize;

/// Entries of each queue.
const QUEUE_SIZE: u16 = 256;

/// Blocks of this size are best, since most file systems of hosts have them.
const PHYSICAL_BLOCK: u32 = 4096;

/// The fields of struct virtio_blk_config that depend on the disk (5.2.4). None may change
/// under a driver.
const CONFIG_FIELDS: [ConfigField; 3] = [
    ConfigField::fixed("capacity", 0..8),
    ConfigField::fixed("blk_size", 20..24),
    ConfigField::fixed("num_queues", 34..36),
];

/// A disk.
pub struct Block {
    /// The disk's contents. They stay open when the guest reboots.
    pub image: Arc<Image>,
    /// The serial number; the guest reads at most [`SERIAL_BYTES`] of it.
    pub serial: String,
    /// The number of queues. Each has a thread.
    pub queues: u16,
}

impl Device for Block {
    fn id(&self) -> u16 {
        const { u16_constant(VIRTIO_ID_BLOCK) }
    }

    fn queues(&self) -> Vec<QueueSpec> {
        (0..self.queues).map(|queue| QueueSpec::new(format!("q{queue}"), QUEUE_SIZE)).collect()
    }

    fn features(&self) -> u64 {
        let always = 1 << VIRTIO_BLK_F_SEG_MAX
            | 1 << VIRTIO_BLK_F_BLK_SIZE
            | 1 << VIRTIO_BLK_F_TOPOLOGY
            | 1 << VIRTIO_BLK_F_FLUSH;
        let access = if self.image.is_read_only() {
            1 << VIRTIO_BLK_F_RO
        } else {
            1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES
        };
        let several = u64::from(self.queues > 1) << VIRTIO_BLK_F_MQ;
        always | access | several
    }

    /// Returns a struct virtio_blk_config (5.2.4).
    fn config(&self) -> Vec<u8> {
        let block = self.image.block_size();
        let exponent = (PHYSICAL_BLOCK / block).checked_ilog2().unwrap_or(0);
        let alignment = PHYSICAL_BLOCK.max(block) / 512;
        let mut config = Vec::with_capacity(60);
        config.extend((self.image.length() / SECTOR).to_le_bytes()); // capacity
        config.extend([0; 4]); // size_max: not offered
        config.extend(u32::from(QUEUE_SIZE - 2).to_le_bytes()); // seg_max: beside header and status
        config.extend([0; 4]); // geometry: not offered
        config.extend(block.to_le_bytes()); // blk_size
        config.push(low_u8(exponent)); // physical_block_exp
        config.extend([0; 7]); // alignment_offset, min_io_size, opt_io_size
        config.extend([0; 2]); // writeback: CONFIG_WCE is not offered
        config.extend(self.queues.to_le_bytes()); // num_queues
        // Twice: discard, write zeroes.
        for last in [alignment.to_le_bytes(), [1, 0, 0, 0]] {
            config.extend(command::MAX_EXTENT_SECTORS.to_le_bytes());
            config.extend(command::MAX_EXTENTS.to_le_bytes());
            config.extend(last); // discard_sector_alignment; write_zeroes_may_unmap
        }
        config
    }

    fn config_fields(&self) -> &'static [ConfigField] {
        &CONFIG_FIELDS
    }

    fn state(&self) -> Result<Value, StateError> {
        // The configuration has the length of the image and the number of queues.
        let Self { image, serial: _, queues: _ } = self;
        state::to_value(BlockState { read_only: image.is_read_only() })
    }

    fn restore(&self, state: &Value) -> Result<(), StateError> {
        let BlockState { read_only } = state::from_value(state)?;
        let mode = |read_only| if read_only { "read-only" } else { "writable" };
        ensure(read_only == self.image.is_read_only(), || {
            let own = mode(self.image.is_read_only());
            format!("the disk was {}, and is {own} here", mode(read_only))
        })
    }

    fn service(&self, _queue: usize, accepted: u64) -> io::Result<Box<dyn Service>> {
        let mut id = [0; SERIAL_BYTES];
        for (to, from) in id.iter_mut().zip(self.serial.bytes()) {
            *to = from;
        }
        let write_through = accepted & (1 << VIRTIO_BLK_F_FLUSH) == 0;
        let image = Arc::clone(&self.image);
        Ok(Box::new(BlockRequests { image, id, write_through, begun: None }))
    }
}

/// What [`Block`] keeps: its driver knows from the features whether it may write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockState {
    read_only: bool,
}

/// The service of a queue: the thread "blk0-q0".
struct BlockRequests {
    image: Arc<Image>,
    id: [u8; SERIAL_BYTES],
    /// Every write is flushed: a driver without FLUSH expects that (5.2.6.2).
    write_through: bool,
    /// The rest of a request that has been begun.
    begun: Option<Command>,
}

impl Service for BlockRequests {
    fn serve(&mut self, request: &mut Request<'_>) -> Result<(), ServeError> {
        if !request.to_guest.set_aside_last() {
            return Err(GuestError::NoRoom("block request without a status byte").into());
        }
        let status = match self.proceed(request) {
            Ok(()) => BlockStatus::OK,
            Err(BlockError::Refused(status)) => status,
            Err(BlockError::Unfinished) => return Err(ServeError::Again),
        };
        self.begun = None;
        if status != BlockStatus::OK {
            request.count_error();
        }
        request.to_guest.put_last(status.byte());
        Ok(())
    }

    /// Every request can be done twice, so it is parsed again.
    fn requeue(&mut self, _request: &Request<'_>) {
        self.begun = None;
    }

    /// Nothing is begun at a request boundary, see [`Self::requeue`].
    fn state(&self) -> Result<Value, StateError> {
        let Self { image: _, id: _, write_through: _, begun } = self;
        ensure(begun.is_none(), || "a request has been begun".to_string())?;
        Ok(Value::Null)
    }

    /// Reads and writes of the host's page cache are fast, and those that came together
    /// share an interrupt.
    fn may_block(&self, request: &Request<'_>) -> bool {
        self.image.is_direct() || self.write_through || !command::is_transfer(request)
    }
}

/// Why a request has not been done.
enum BlockError {
    /// The request is answered with this status, and not done.
    Refused(BlockStatus),
    /// A signal interrupted the request, or there is more of it to do.
    Unfinished,
}

impl From<BlockStatus> for BlockError {
    fn from(status: BlockStatus) -> Self {
        Self::Refused(status)
    }
}

impl From<io::Error> for BlockError {
    /// The image has logged the error.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Interrupted => Self::Unfinished,
            _ => Self::Refused(BlockStatus::IO_ERROR),
        }
    }
}

impl BlockRequests {
    /// Carries out the request, or the next part of it.
    fn proceed(&mut self, request: &mut Request<'_>) -> Result<(), BlockError> {
        let command = match self.begun.take() {
            Some(command) => command,
            None => command::parse(request, &self.image)?,
        };
        match self.begun.insert(command) {
            Command::Read { at } => {
                if !request.to_guest.is_empty() {
                    *at += self.image.read(&mut request.to_guest, *at)?;
                }
                finished(request.to_guest.is_empty())
            }
            Command::Write { at } => {
                if !request.from_guest.is_empty() {
                    *at += self.image.write(&mut request.from_guest, *at)?;
                }
                finished(request.from_guest.is_empty())?;
                make_stable(&self.image, self.write_through)
            }
            Command::Flush => Ok(self.image.flush()?),
            Command::GetId => {
                request.to_guest.put(&self.id);
                Ok(())
            }
            Command::Extents(extents) => {
                clear_some(extents, &self.image)?;
                finished(extents.is_empty())?;
                make_stable(&self.image, self.write_through)
            }
        }
    }
}

/// Discards or clears as much of the extents as one system call can.
fn clear_some(extents: &mut Vec<Extent>, image: &Image) -> io::Result<()> {
    let Some(extent) = extents.last_mut() else { return Ok(()) };
    let range = extent.start..extent.end;
    extent.start += match (range.is_empty(), extent.zero) {
        (true, _) => 0,
        (_, true) => image.zero(&range, extent.unmap)?,
        (_, false) => image.discard(&range)?,
    };
    if extent.start == extent.end {
        extents.pop();
    }
    Ok(())
}

fn make_stable(image: &Image, write_through: bool) -> Result<(), BlockError> {
    if write_through { Ok(image.flush()?) } else { Ok(()) }
}

fn finished(all: bool) -> Result<(), BlockError> {
    if all { Ok(()) } else { Err(BlockError::Unfinished) }
}

#[cfg(test)]
mod tests;
