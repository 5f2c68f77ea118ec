//! Which layouts become a queue at all (virtio 1.2, 2.7, 2.7.1).

use super::*;
use crate::testing::{HIGH_RAM, RAM_END};

fn check(layout: QueueLayout) -> Result<(), GuestError> {
    let bell = Arc::new(EventFd::new(0).unwrap());
    Virtqueue::new(layout, &memory(), RING_FEATURES, bell, Interrupt::default()).map(drop)
}

fn good() -> QueueLayout {
    QueueLayout { size: 8, descriptors: 0x1000, avail: 0x2000, used: 0x3000 }
}

#[test]
fn a_good_layout_is_accepted() {
    assert_eq!(check(good()), Ok(()));
}

#[test]
fn a_layout_in_ram_above_the_hole_is_accepted() {
    let (descriptors, avail, used) = (HIGH_RAM, HIGH_RAM + 0x80, HIGH_RAM + 0x1000 - 70);
    let used = used & !3;
    assert_eq!(check(QueueLayout { size: 8, descriptors, avail, used }), Ok(()));
}

#[test]
fn a_layout_that_ends_exactly_with_ram_is_accepted() {
    assert_eq!(check(QueueLayout { descriptors: RAM_END - 128, ..good() }), Ok(()));
    assert_eq!(check(QueueLayout { avail: RAM_END - 22, ..good() }), Ok(()));
    assert_eq!(check(QueueLayout { size: 1, used: RAM_END - 16, ..good() }), Ok(()));
}

/// The last two bytes of the avail and the used ring are used_event and avail_event.
#[test]
fn a_layout_whose_event_index_is_behind_the_end_of_ram_is_refused() {
    let (avail, used) = (RAM_END - 20, RAM_END - 68);
    let error = |ring, address| Err(GuestError::Ring { ring, address });

    assert_eq!(check(QueueLayout { avail, ..good() }), error("avail ring", avail));
    assert_eq!(check(QueueLayout { used, ..good() }), error("used ring", used));
}

/// Rings over rings are the guest's own trouble.
#[test]
fn a_layout_whose_parts_overlap_is_accepted() {
    assert_eq!(check(QueueLayout { size: 8, descriptors: 0, avail: 0, used: 0 }), Ok(()));
}

#[test]
fn an_illegal_size_is_refused() {
    for size in [0, 3, 7, 32769, 65535] {
        assert_eq!(check(QueueLayout { size, ..good() }), Err(GuestError::QueueSize(size)));
    }
}

/// A ring's name, by how much it may not be off, and a layout with it elsewhere.
type Row = (&'static str, &'static [u64], fn(u64) -> QueueLayout);

#[test]
fn a_ring_that_is_misaligned_or_outside_ram_is_refused() {
    let rows: [Row; 3] = [
        ("descriptor table", &[1, 2, 4, 8, 15], |at| QueueLayout { descriptors: at, ..good() }),
        ("avail ring", &[1, 3], |at| QueueLayout { avail: at, ..good() }),
        ("used ring", &[1, 2, 3, 6], |at| QueueLayout { used: at, ..good() }),
    ];
    let outside = [RAM_END, RAM_END - 16, 0xc000_0000, HIGH_RAM - 16, HIGH_RAM + 0x1000, !15];

    for (ring, off, layout) in rows {
        for address in off.iter().map(|off| 0x1000 + off).chain(outside) {
            let expected = Err(GuestError::Ring { ring, address });
            assert_eq!(check(layout(address)), expected, "{ring} at {address:#x}");
        }
    }
}
