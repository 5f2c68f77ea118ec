//! The table of hostile rings: what a malicious or broken driver may put into a
//! queue, one row each, and what the device makes of it. The tags are those of
//! the catalogue in the tests' names: R1 index, R2 head, R3 next, R4 loop, and so on.

use super::*;
use crate::testing::ring::{Desc, INDIRECT, NEXT, WRITE};
use crate::testing::{BAR, HIGH_RAM, RAM_END};

/// Entries of the queue in every row.
const SIZE: u16 = 8;
/// An indirect table lies here.
const TABLE: u64 = 0x30_0000;
/// A buffer that is fine lies here.
const DATA: u64 = 0x20_0000;

/// A name, what the driver does, and the error.
type Row = (&'static str, fn(&mut Ring), GuestError);

fn desc(addr: u64, len: u32, flags: u16, next: u16) -> Desc {
    Desc { addr, len, flags, next }
}

/// Make descriptor 0 this one, and publish it.
fn one(ring: &mut Ring, descriptor: Desc) {
    ring.set_desc(0, descriptor);
    ring.publish(0);
}

/// A chain of `length` descriptors.
fn chain(length: u16) -> Vec<Desc> {
    let mut all: Vec<_> = (1..=length).map(|next| desc(DATA, 1, NEXT, next)).collect();
    all.last_mut().unwrap().flags = 0;
    all
}

/// Make descriptor 0 point to an indirect table of these.
fn indirect(ring: &mut Ring, descriptors: &[Desc]) {
    for (index, descriptor) in (0..).zip(descriptors) {
        ring.set_desc_in(TABLE, index, *descriptor);
    }
    let len = 16 * u32::try_from(descriptors.len()).unwrap();
    one(ring, desc(TABLE, len, INDIRECT, 0));
}

fn avail_index(from: u16, to: u16) -> GuestError {
    GuestError::AvailIndex { from, to, size: SIZE }
}

fn descriptor(index: u16, size: u16) -> GuestError {
    GuestError::DescriptorIndex { index, size: size.into() }
}

fn outside(address: u64, length: u32) -> GuestError {
    GuestError::BufferAddress { address, length }
}

fn too_long(size: u16) -> GuestError {
    GuestError::ChainTooLong { size }
}

const LENGTH: GuestError = GuestError::Indirect("table with a length that is not a multiple of 16");

fn rings() -> Vec<Row> {
    vec![
        ("R1 index past the ring", |r| r.set_avail_index(SIZE + 1), avail_index(0, SIZE + 1)),
        ("R1 index far away", |r| r.set_avail_index(0x8000), avail_index(0, 0x8000)),
        ("R1 index backwards", |r| r.set_avail_index(0xffff), avail_index(0, 0xffff)),
        ("R2 head = size", |r| r.publish(SIZE), descriptor(SIZE, SIZE)),
        ("R2 head = 0xffff", |r| r.publish(0xffff), descriptor(0xffff, SIZE)),
        ("R3 next = size", |r| one(r, desc(DATA, 1, NEXT, SIZE)), descriptor(SIZE, SIZE)),
        ("R3 next = 0xffff", |r| one(r, desc(0, 0, NEXT, 0xffff)), descriptor(0xffff, SIZE)),
        (
            "R3 next past an indirect table",
            |r| indirect(r, &[desc(DATA, 1, NEXT, 2), desc(DATA, 1, 0, 0)]),
            descriptor(2, 2),
        ),
        ("R4 loop of one", |r| one(r, desc(DATA, 1, NEXT, 0)), too_long(SIZE)),
        ("R4 loop of nothing", |r| one(r, desc(0, 0, NEXT, 0)), too_long(SIZE)),
        (
            "R4 loop of two",
            |r| {
                r.set_desc(1, desc(DATA, 1, NEXT, 0));
                one(r, desc(DATA, 1, NEXT, 1));
            },
            too_long(SIZE),
        ),
        (
            "R4 loop in an indirect table",
            |r| indirect(r, &[desc(DATA, 1, NEXT, 1), desc(DATA, 1, NEXT, 0)]),
            too_long(SIZE),
        ),
    ]
}

fn addresses() -> Vec<Row> {
    vec![
        ("R6 behind RAM", |r| one(r, desc(RAM_END, 1, 0, 0)), outside(RAM_END, 1)),
        ("R6 across the end", |r| one(r, desc(RAM_END - 1, 2, 0, 0)), outside(RAM_END - 1, 2)),
        ("R6 before RAM", |r| one(r, desc(HIGH_RAM - 1, 2, 0, 0)), outside(HIGH_RAM - 1, 2)),
        ("R6 a BAR", |r| one(r, desc(BAR.into(), 4, WRITE, 0)), outside(BAR.into(), 4)),
        ("R6 all of 4 GiB", |r| one(r, desc(0, u32::MAX, 0, 0)), outside(0, u32::MAX)),
        ("R7 wraps", |r| one(r, desc(!255, 512, 0, 0)), outside(!255, 512)),
        ("R7 last byte", |r| one(r, desc(u64::MAX, 1, 0, 0)), outside(u64::MAX, 1)),
        (
            "R6 in an indirect table",
            |r| indirect(r, &[desc(DATA, 1, NEXT, 1), desc(RAM_END, 9, 0, 0)]),
            outside(RAM_END, 9),
        ),
        (
            "R6 an indirect table behind RAM",
            |r| one(r, desc(RAM_END, 16, INDIRECT, 0)),
            outside(RAM_END, 16),
        ),
        (
            "R6 an indirect table across the end",
            |r| one(r, desc(RAM_END - 16, 32, INDIRECT, 0)),
            outside(RAM_END - 16, 32),
        ),
        ("R7 an indirect table wraps", |r| one(r, desc(!15, 32, INDIRECT, 0)), outside(!15, 32)),
    ]
}

fn order_and_indirection() -> Vec<Row> {
    vec![
        (
            "R10 readable after writable",
            |r| assert_eq!(r.offer(&[ToGuest(1), FromGuest(b"a")]), 0),
            GuestError::ReadableAfterWritable,
        ),
        (
            "R10 the same in an indirect table",
            |r| indirect(r, &[desc(DATA, 1, NEXT | WRITE, 1), desc(DATA, 1, 0, 0)]),
            GuestError::ReadableAfterWritable,
        ),
        (
            "R10 readable in the table, writable before it",
            |r| {
                r.set_desc_in(TABLE, 0, desc(DATA, 1, 0, 0));
                r.offer_chain(&[desc(DATA, 1, WRITE, 0), desc(TABLE, 16, INDIRECT, 0)]);
            },
            GuestError::ReadableAfterWritable,
        ),
        (
            "R13 a table in a table",
            |r| indirect(r, &[desc(TABLE, 16, INDIRECT, 0)]),
            GuestError::Indirect("inside an indirect table"),
        ),
        (
            "R13 a table at the end of a table",
            |r| indirect(r, &[desc(DATA, 1, NEXT, 1), desc(TABLE, 32, INDIRECT, 0)]),
            GuestError::Indirect("inside an indirect table"),
        ),
        (
            "R14 INDIRECT and NEXT",
            |r| one(r, desc(TABLE, 16, INDIRECT | NEXT, 1)),
            GuestError::Indirect("with NEXT"),
        ),
        ("R16 an empty table", |r| one(r, desc(TABLE, 0, INDIRECT, 0)), LENGTH),
        ("R16 15 bytes", |r| one(r, desc(TABLE, 15, INDIRECT, 0)), LENGTH),
        ("R16 17 bytes", |r| one(r, desc(TABLE, 17, INDIRECT, 0)), LENGTH),
        ("R16 nearly 4 GiB", |r| one(r, desc(TABLE, !15, INDIRECT, 0)), outside(TABLE, !15)),
        ("R17 a chain longer than the queue", |r| indirect(r, &chain(SIZE + 1)), too_long(SIZE)),
        (
            "R17 a chain longer than the queue, in two tables",
            |r| {
                r.set_desc(1, desc(TABLE, 16 * u32::from(SIZE), INDIRECT, 0));
                (0..).zip(chain(SIZE)).for_each(|(i, part)| r.set_desc_in(TABLE, i, part));
                one(r, desc(DATA, 1, NEXT, 1));
            },
            too_long(SIZE),
        ),
    ]
}

#[test]
fn each_hostile_ring_has_its_error() {
    let rows = [rings(), addresses(), order_and_indirection()].concat();

    for (name, drive, expected) in rows {
        let mut fixture = Fixture::new(SIZE, RING_FEATURES);
        drive(&mut fixture.ring);
        assert_eq!(fixture.pop(), Err(expected), "{name}");
        assert_eq!(fixture.queue.position(), QueuePosition::default(), "{name}");
    }
}

/// An avail index that moves back is found at every position.
#[test]
fn r1_an_index_that_moves_backwards_across_the_wrap_is_refused() {
    let mut fixture = Fixture::new(SIZE, RING_FEATURES).at(0);

    fixture.ring.set_avail_index(65535);

    assert_eq!(fixture.pop(), Err(avail_index(0, 65535)));
}

#[test]
fn r12_an_indirect_descriptor_without_the_feature_is_refused() {
    let mut fixture = Fixture::new(SIZE, RING_FEATURES & !INDIRECT_DESC);

    indirect(&mut fixture.ring, &[desc(DATA, 1, 0, 0)]);

    assert_eq!(fixture.pop(), Err(GuestError::Indirect("without the feature")));
}

/// A large memory, of which the tests touch only the rings.
fn large_memory() -> Memory {
    Memory::from_ranges(&[(vm_memory::GuestAddress(0), 3 << 30)]).unwrap()
}

#[test]
fn r5_more_than_4_gib_in_one_direction_are_refused() {
    let mut fixture = Fixture::over(large_memory(), SIZE, RING_FEATURES);

    fixture.ring.offer_chain(&[desc(0, 3 << 30, WRITE, 0), desc(0, 1 << 30, WRITE, 0)]);

    assert_eq!(fixture.pop(), Err(GuestError::ChainTooLarge));
}

#[test]
fn r5_more_than_4_gib_in_both_directions_together_are_refused() {
    let mut fixture = Fixture::over(large_memory(), SIZE, RING_FEATURES);

    fixture.ring.offer_chain(&[desc(0, 3 << 30, 0, 0), desc(0, 3 << 30, WRITE, 0)]);

    assert_eq!(fixture.pop(), Err(GuestError::ChainTooLarge));
}

/// R18: overlapping buffers may come to more than there is RAM; nothing is allocated for them.
#[test]
fn r18_overlapping_buffers_are_allowed() {
    let mut fixture = Fixture::new(SIZE, RING_FEATURES);
    let all = desc(0, u32::try_from(RAM_END).unwrap(), WRITE, 0);

    fixture.ring.offer_chain(&[all; 8]);

    assert_eq!(fixture.pop().unwrap().unwrap().to_guest, 8 * all.len);
}

/// Attack R19: the driver gets two answers in one buffer.
#[test]
fn r19_the_same_head_twice_is_served_twice() {
    let mut fixture = Fixture::new(SIZE, RING_FEATURES);
    let head = fixture.ring.offer(&[ToGuest(1)]);
    fixture.ring.publish(head);

    fixture.serve(b"a");
    fixture.serve(b"b");

    assert_eq!(fixture.ring.used_index(), 2);
    assert_eq!(fixture.ring.used_entry(1), fixture.ring.used_entry(0));
}

/// R6: data over the rings themselves; the device's own position is not in there.
#[test]
fn r6_a_buffer_over_its_own_rings_is_allowed() {
    let mut fixture = Fixture::new(SIZE, RING_FEATURES);
    fixture.ring.offer_chain(&[desc(fixture.ring.layout.used, 70, WRITE, 0)]);

    fixture.serve(&[0xff; 70]);

    assert_eq!(fixture.ring.used_index(), 1);
    assert_eq!(fixture.queue.position(), QueuePosition { next_avail: 1, next_used: 1 });
}

/// A ring that changes while the device enables notifications is refused, too.
#[test]
fn r1_an_index_that_jumps_while_the_device_waits_is_refused() {
    let mut fixture = Fixture::new(SIZE, RING_FEATURES);
    assert!(fixture.sleeps());

    fixture.ring.set_avail_index(SIZE + 1);
    fixture.doorbell.write(1).unwrap();

    let (stop, mut request) = (StopFlag::default(), Request::default());
    let result = fixture.queue.wait_for_request(&fixture.memory, &mut request, &stop);
    assert!(matches!(result, Err(ServeError::Guest(GuestError::AvailIndex { .. }))));
}
