//! Tests of the block device over real files: what it offers, and the tools of
//! the tests below.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::{Block, Image, SECTOR};
use crate::testing::FakeGuest;
use crate::testing::ring::Part::{self, FromGuest, ToGuest};

mod cow;
mod direct;
mod extents;
mod faults;
mod flush;
mod framing;
mod hostile;
mod pause;
mod state;
mod transfers;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

/// The status byte before the device writes it: a value that the device never writes.
const UNTOUCHED: u8 = 0xee;

const FLUSH_FEATURE: u64 = 1 << 9;

/// A temporary file of `sectors` sectors, in which each byte depends on its sector.
fn file(sectors: u64) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&contents(0..sectors)).unwrap();
    file
}

/// What these sectors of [`file`] contain.
fn contents(sectors: std::ops::Range<u64>) -> Vec<u8> {
    sectors.flat_map(|sector| [sector.to_le_bytes()[0] | 0x80; 512]).collect()
}

/// The image in a file, all of it.
fn image(file: &File) -> Image {
    let length = file.metadata().unwrap().len();
    Image::new(file.try_clone().unwrap(), "disk.img", length).unwrap()
}

/// A guest with this disk.
fn guest(image: Image) -> FakeGuest {
    FakeGuest::new(disk(image))
}

fn disk(image: Image) -> Block {
    Block { image: Arc::new(image), serial: "no. 1".into(), queues: 1 }
}

/// All that is in the file now.
fn read_all(file: &File) -> Vec<u8> {
    let (mut file, mut bytes) = (file, Vec::new());
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Bytes that the file takes on the host.
fn allocated(file: &File) -> u64 {
    file.metadata().unwrap().blocks() * 512
}

/// struct virtio_blk_req as far as it is of one size.
fn header(kind: u32, sector: u64) -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    header
}

/// struct virtio_blk_discard_write_zeroes.
fn extent(sector: u64, sectors: u32, flags: u32) -> [u8; 16] {
    let mut extent = [0; 16];
    extent[..8].copy_from_slice(&sector.to_le_bytes());
    extent[8..12].copy_from_slice(&sectors.to_le_bytes());
    extent[12..].copy_from_slice(&flags.to_le_bytes());
    extent
}

/// The answer to a request.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u8,
    data: Vec<u8>,
    used: u32,
}

/// Make a request of these parts, and wait for its answer.
fn ask(guest: &mut FakeGuest, parts: &[Part<'_>]) -> Answer {
    let head = guest.rings[0].offer(parts);
    finish(guest, head)
}

/// Notify the device of a request that was offered, and wait for its answer.
fn finish(guest: &mut FakeGuest, head: u16) -> Answer {
    guest.notify(0);
    let used = guest.wait_used(0);
    assert_eq!(used.id, u32::from(head));
    let mut data = guest.bytes(0, head);
    Answer { status: data.pop().unwrap(), data, used: used.len }
}

/// Read this many bytes.
fn read(guest: &mut FakeGuest, sector: u64, bytes: u32) -> Answer {
    ask(guest, &[FromGuest(&header(IN, sector)), ToGuest(bytes), ToGuest(1)])
}

/// Do something with these bytes; the status.
fn give(guest: &mut FakeGuest, kind: u32, sector: u64, bytes: &[u8]) -> u8 {
    let answer = ask(guest, &[FromGuest(&header(kind, sector)), FromGuest(bytes), ToGuest(1)]);
    assert_eq!(answer.used, 1);
    answer.status
}

fn config(guest: &mut FakeGuest) -> [u8; 60] {
    let mut bytes = [0; 60];
    for (at, part) in (guest.map.device..).step_by(4).zip(bytes.chunks_mut(4)) {
        guest.device.read_memory(at, part);
    }
    bytes
}

fn u32_at(config: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(config[at..at + 4].try_into().unwrap())
}

#[test]
fn the_configuration_describes_the_disk() {
    let file = file(100);
    let mut guest = guest(image(&file));

    assert_eq!(guest.offered() & 0xff_ffff, 1 << 2 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 13 | 1 << 14);
    let config = config(&mut guest);
    assert_eq!(config[..8], 100_u64.to_le_bytes());
    assert_eq!(u32_at(&config, 12), 254, "seg_max");
    assert_eq!(u32_at(&config, 20), 512, "blk_size");
    assert_eq!(config[24], 3, "blocks of 4096 bytes are best");
    assert_eq!(config[32..36], [0, 0, 1, 0], "one queue");
    assert_eq!([36, 40, 44].map(|at| u32_at(&config, at)), [1 << 22, 16, 8]);
    assert_eq!([48, 52, 56].map(|at| u32_at(&config, at)), [1 << 22, 16, 1]);
}

#[test]
fn a_read_only_disk_offers_nothing_that_writes() {
    let file = file(8);
    let mut guest = guest(image(&file).read_only());

    assert_eq!(guest.offered() & 0xff_ffff, 1 << 2 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 10);
}

#[test]
fn several_queues_serve_the_same_disk() {
    let file = file(8);
    let block = Block { queues: 4, ..disk(image(&file)) };
    let mut guest = FakeGuest::named("blk7", block);

    assert_eq!(guest.offered() & 1 << 12, 1 << 12);
    assert_eq!(config(&mut guest)[34..36], [4, 0]);
    for queue in 0..4 {
        let sector = u64::try_from(queue).unwrap();
        let head = guest.offer(queue, &[FromGuest(&header(IN, sector)), ToGuest(512), ToGuest(1)]);
        assert_eq!(guest.wait_used(queue).len, 513);
        assert_eq!(guest.bytes(queue, head)[..512], contents(sector..sector + 1));
    }
    let names: Vec<_> = crate::testing::threads::threads("blk7");
    assert_eq!(names, ["blk7-q0", "blk7-q1", "blk7-q2", "blk7-q3"]);
}

#[test]
fn a_partial_last_sector_is_not_part_of_the_disk() {
    let mut file = file(3);
    file.write_all(b"and more").unwrap();
    assert_eq!(image(&file).length(), 3 * 512);
    let mut guest = guest(image(&file));

    assert_eq!(config(&mut guest)[..8], 3_u64.to_le_bytes());
    assert_eq!(read(&mut guest, 3, SECTOR.try_into().unwrap()).status, IO_ERROR);
}
