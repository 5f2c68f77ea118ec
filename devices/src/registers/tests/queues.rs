//! The registers of queues (virtio 1.2, 4.1.4.3): when they can be written, and
//! that a live queue never changes (CVE-2026-5747).

use super::*;
use crate::testing::ring::Part::{FromGuest, ToGuest};

/// FEATURES_OK, queue 0 selected.
fn negotiated() -> FakeGuest {
    let mut guest = FakeGuest::found(echo());
    guest.negotiate();
    guest
}

/// Write something else into every register of the queue selected.
fn scribble(guest: &mut FakeGuest) {
    for (register, value) in [
        (common::QUEUE_SIZE, 2),
        (common::QUEUE_SIZE, 0),
        (common::QUEUE_VECTOR, 0),
        (common::QUEUE_DESC, 0xdead_0000),
        (common::QUEUE_DRIVER, 0xdead_0000),
        (common::QUEUE_DEVICE, 0xdead_0000),
        (common::QUEUE_ENABLE, 0),
        (common::QUEUE_ENABLE, 2),
        (common::QUEUE_NOTIFY_DATA, 1),
        (common::QUEUE_RESET, 1),
    ] {
        guest.write(register, value);
    }
}

#[test]
fn sizes_up_to_the_limit_are_accepted() {
    for size in [1, 2, 64, 128] {
        let mut guest = negotiated();
        guest.write(common::QUEUE_SIZE, size);
        assert_eq!(guest.read(common::QUEUE_SIZE), size);
    }
}

/// Q1 to Q3.
#[test]
fn illegal_sizes_are_ignored() {
    for size in [0, 3, 127, 129, 256, 32768, 65535] {
        let mut guest = negotiated();
        guest.write(common::QUEUE_SIZE, size);
        assert_eq!(guest.read(common::QUEUE_SIZE), 128, "{size}");
    }
}

#[test]
fn addresses_are_written_whole_or_by_halves() {
    for (at, _) in [common::QUEUE_DESC, common::QUEUE_DRIVER, common::QUEUE_DEVICE] {
        let mut guest = negotiated();
        guest.write((at, 8), 0x0123_4567_89ab_cdef);
        assert_eq!(guest.read((at, 8)), 0x0123_4567_89ab_cdef);
        guest.write((at + 4, 4), 0x7654_3210);
        assert_eq!(guest.read((at, 8)), 0x7654_3210_89ab_cdef);
        guest.write((at, 4), 0);
        assert_eq!((guest.read((at, 4)), guest.read((at + 4, 4))), (0, 0x7654_3210));
    }
}

#[test]
fn queue_registers_cannot_be_written_before_features_ok() {
    let mut guest = FakeGuest::found(echo());
    guest.set_status(1);
    guest.set_status(3);
    let before = queue_registers(&mut guest, 0);

    scribble(&mut guest);
    guest.write(common::QUEUE_ENABLE, 1);

    assert_eq!(queue_registers(&mut guest, 0), before);
}

/// Q8.
#[test]
fn only_the_value_1_enables_a_queue() {
    let mut guest = negotiated();
    for value in [0, 2, 0x100, 0x101, 0xffff] {
        guest.write(common::QUEUE_ENABLE, value);
        assert_eq!(guest.read(common::QUEUE_ENABLE), 0, "{value:#x}");
    }

    guest.write(common::QUEUE_ENABLE, 1);
    guest.write(common::QUEUE_ENABLE, 1);

    assert_eq!(guest.read(common::QUEUE_ENABLE), 1);
}

/// Q7, Q8, Q11.
#[test]
fn an_enabled_queue_does_not_change() {
    let mut guest = negotiated();
    guest.set_up_queue(0);
    guest.enable_queue(0);
    let before = queue_registers(&mut guest, 0);

    scribble(&mut guest);

    assert_eq!(queue_registers(&mut guest, 0), before);
}

/// Attack Q7: writes to the registers of a live queue have no effect.
#[test]
fn a_live_queue_does_not_change() {
    let mut guest = FakeGuest::new(echo());
    let before = queue_registers(&mut guest, 0);

    scribble(&mut guest);

    assert_eq!(queue_registers(&mut guest, 0), before);
    guest.offer(0, &[FromGuest(b"alive"), ToGuest(5)]);
    assert_eq!(guest.wait_used(0).len, 5);
    guest.wait_interrupt(0);
}

#[test]
fn a_queue_that_is_not_live_does_not_change_while_others_are() {
    let mut guest = negotiated();
    guest.set_up_queue(0);
    guest.enable_queue(0);
    guest.set_status(15);
    let before = queue_registers(&mut guest, 1);

    scribble(&mut guest);
    guest.write(common::QUEUE_ENABLE, 1);

    assert_eq!(queue_registers(&mut guest, 1), before);
}

/// Q10.
#[test]
fn a_queue_that_does_not_exist_shows_nothing_and_takes_nothing() {
    for select in [2, 3, 64, 0x7fff, 0xfffe, 0xffff] {
        let mut guest = negotiated();
        guest.write(common::QUEUE_SELECT, select);
        scribble(&mut guest);
        guest.write(common::QUEUE_ENABLE, 1);

        let select = u16::try_from(select).unwrap();
        assert_eq!(queue_registers(&mut guest, select), [0, NO_VECTOR, 0, 0, 0, 0, 0]);
        assert_eq!(queue_registers(&mut guest, 0), [128, NO_VECTOR, 0, 0, 0, 0, 0]);
        assert_eq!(queue_registers(&mut guest, 1), [64, NO_VECTOR, 0, 1, 0, 0, 0]);
    }
}

/// Q11: VIRTIO_F_RING_RESET and VIRTIO_F_NOTIFICATION_DATA are not offered.
#[test]
fn registers_of_features_not_offered_read_as_zero() {
    let mut guest = FakeGuest::new(echo());

    guest.write(common::QUEUE_SELECT, 0);
    guest.write(common::QUEUE_RESET, 1);
    guest.write(common::QUEUE_NOTIFY_DATA, 1);

    assert_eq!(guest.read(common::QUEUE_RESET), 0);
    assert_eq!(guest.read(common::QUEUE_NOTIFY_DATA), 0);
    assert_eq!(guest.read(common::QUEUE_ENABLE), 1);
}

#[test]
fn registers_take_only_their_own_width() {
    let mut guest = negotiated();
    guest.set_up_queue(0);
    let before = queue_registers(&mut guest, 0);

    for (at, width) in QUEUE {
        for other in [1, 2, 4].into_iter().filter(|other| *other != width.min(4)) {
            guest.write((at, other), 0x0101_0101);
        }
    }

    assert_eq!(queue_registers(&mut guest, 0), before);
}
