//! Parses block requests (virtio 1.2, 5.2.6). A request is copied from guest memory once
//! and checked against the disk. The driver decides about the framing: the header is the
//! first 16 bytes, in one descriptor or in several, and the status is the very last byte.

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD,
    VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
    VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};

use super::{Image, SECTOR};
use crate::number::u8_constant;
use crate::request::{Buffers, Request};

/// The most extents of one discard or write-zeroes request.
pub(super) const MAX_EXTENTS: u32 = 16;
/// The most sectors of an extent: 2 GiB.
pub(super) const MAX_EXTENT_SECTORS: u32 = 1 << 22;

/// The status byte of a request (5.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockStatus(u8);

impl BlockStatus {
    pub(super) const OK: Self = Self(u8_constant(VIRTIO_BLK_S_OK));
    pub(super) const IO_ERROR: Self = Self(u8_constant(VIRTIO_BLK_S_IOERR));
    pub(super) const UNSUPPORTED: Self = Self(u8_constant(VIRTIO_BLK_S_UNSUPP));

    pub(super) fn byte(self) -> u8 {
        self.0
    }
}

/// A request that has been parsed. Positions are bytes of the disk, and lie on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Fill the request's buffers from byte `at` on.
    Read {
        at: u64,
    },
    /// Write the rest of the request's bytes to byte `at`.
    Write {
        at: u64,
    },
    Flush,
    GetId,
    /// Discard or clear these extents, in any order.
    Extents(Vec<Extent>),
}

/// The rest of a struct virtio_blk_discard_write_zeroes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) end: u64,
    /// The extent must read as zeroes afterwards.
    pub(super) zero: bool,
    /// The host may free the extent's blocks.
    pub(super) unmap: bool,
}

/// Whether a request moves data and does nothing more.
pub(super) fn is_transfer(request: &Request<'_>) -> bool {
    let mut kind = [0; 4];
    request.from_guest.peek(&mut kind);
    matches!(u32::from_le_bytes(kind), VIRTIO_BLK_T_IN | VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_GET_ID)
}

/// Consumes the header of the request and, for a command on extents, all of it.
pub(super) fn parse(request: &mut Request<'_>, image: &Image) -> Result<Command, BlockStatus> {
    let mut header = [0; 16];
    let from_guest = &mut request.from_guest;
    if take(from_guest, &mut header) < header.len() {
        return Err(BlockStatus::IO_ERROR);
    }
    let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
    let sector = u64::from_le_bytes(sector);
    match u32::from_le_bytes([k0, k1, k2, k3]) {
        VIRTIO_BLK_T_IN => {
            let at = place(image, sector, request.to_guest.len().into())?;
            Ok(Command::Read { at })
        }
        VIRTIO_BLK_T_OUT => {
            let at = place(image, sector, from_guest.len().into())?;
            writable(image).map(|()| Command::Write { at })
        }
        VIRTIO_BLK_T_FLUSH => Ok(Command::Flush),
        VIRTIO_BLK_T_GET_ID => Ok(Command::GetId),
        VIRTIO_BLK_T_DISCARD => extents(from_guest, image, false),
        VIRTIO_BLK_T_WRITE_ZEROES => extents(from_guest, image, true),
        _ => Err(BlockStatus::UNSUPPORTED),
    }
}

/// Parses the extents of a discard or, with `zero`, of a write-zeroes command.
fn extents(from: &mut Buffers<'_>, image: &Image, zero: bool) -> Result<Command, BlockStatus> {
    writable(image)?;
    if from.is_empty() || !from.len().is_multiple_of(16) {
        return Err(BlockStatus::IO_ERROR);
    }
    let count = from.len() / 16;
    if count > MAX_EXTENTS {
        return Err(BlockStatus::UNSUPPORTED);
    }
    // All extents are checked before the first is carried out.
    (0..count).map(|_| extent(from, image, zero)).collect::<Result<_, _>>().map(Command::Extents)
}

fn extent(from: &mut Buffers<'_>, image: &Image, zero: bool) -> Result<Extent, BlockStatus> {
    let mut bytes = [0; 16];
    take(from, &mut bytes);
    let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, flags @ ..] = bytes;
    let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
    // A discard has no flags (5.2.6.2).
    let unmap = match u32::from_le_bytes(flags) {
        0 => false,
        VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP if zero => true,
        _ => return Err(BlockStatus::UNSUPPORTED),
    };
    if sectors > MAX_EXTENT_SECTORS {
        return Err(BlockStatus::IO_ERROR);
    }
    let length = u64::from(sectors) * SECTOR;
    let start = place(image, sector, length)?;
    Ok(Extent { start, end: start + length, zero, unmap })
}

/// Returns the byte of the disk at which `sector` begins. `length` bytes from there on
/// must be whole blocks of the disk.
fn place(image: &Image, sector: u64, length: u64) -> Result<u64, BlockStatus> {
    let start = sector.checked_mul(SECTOR).ok_or(BlockStatus::IO_ERROR)?;
    let end = start.checked_add(length).ok_or(BlockStatus::IO_ERROR)?;
    let block = u64::from(image.block_size());
    let fits = end <= image.length() && start.is_multiple_of(block) && length.is_multiple_of(block);
    if fits { Ok(start) } else { Err(BlockStatus::IO_ERROR) }
}

/// Refuses changes of a read-only disk, whatever features the driver has accepted
/// (5.2.6.2).
fn writable(image: &Image) -> Result<(), BlockStatus> {
    if image.is_read_only() { Err(BlockStatus::IO_ERROR) } else { Ok(()) }
}

/// Copies the next bytes and consumes them. Returns how many there were.
fn take(from: &mut Buffers<'_>, bytes: &mut [u8]) -> usize {
    let count = from.peek(bytes);
    from.consume(count);
    count
}
