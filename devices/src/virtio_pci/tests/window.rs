//! The window of VIRTIO_PCI_CAP_PCI_CFG (virtio 1.2, 4.1.4.9): the registers
//! for drivers that cannot map the BAR.

use crate::testing::FakeGuest;
use crate::testing::device::echo;
use crate::testing::pci::common;
use crate::testing::ring::Part::{FromGuest, ToGuest};

/// Open the window.
fn open(guest: &mut FakeGuest, bar: u8, offset: u32, length: u32) {
    let at = guest.map.window;
    guest.device.write_config(at + 4, &[bar]);
    guest.device.write_config(at + 8, &offset.to_le_bytes());
    guest.device.write_config(at + 12, &length.to_le_bytes());
}

fn read(guest: &mut FakeGuest, from: usize, width: usize) -> Vec<u8> {
    let mut bytes = [0x55; 4];
    guest.device.read_config(guest.map.window + 16 + from, &mut bytes[..width]);
    bytes[..width].to_vec()
}

fn write(guest: &mut FakeGuest, bytes: &[u8]) {
    guest.device.write_config(guest.map.window + 16, bytes);
}

#[test]
fn the_window_reads_and_writes_registers() {
    let mut guest = FakeGuest::found(echo());

    open(&mut guest, 0, 0x14, 1);
    write(&mut guest, &[1]);
    assert_eq!(read(&mut guest, 0, 1), [1]);
    assert_eq!(guest.status(), 1);

    open(&mut guest, 0, 0x12, 2);
    assert_eq!(read(&mut guest, 0, 2), [2, 0]);
    open(&mut guest, 0, 0x2000, 4);
    assert_eq!(read(&mut guest, 0, 4), b"twel");
}

#[test]
fn the_window_rings_doorbells() {
    let mut guest = FakeGuest::new(echo());
    guest.rings[1].offer(&[FromGuest(b"a"), ToGuest(1)]);

    let doorbell = u32::try_from(guest.map.notify + guest.map.notify_step).unwrap();
    open(&mut guest, 0, doorbell, 2);
    write(&mut guest, &[1, 0]);

    assert_eq!(guest.wait_used(1).len, 1);
}

#[test]
fn the_window_resets_a_device_that_runs() {
    let mut guest = FakeGuest::new(echo());

    open(&mut guest, 0, 0x14, 1);
    write(&mut guest, &[0]);

    assert_eq!(guest.status(), 0);
}

#[test]
fn the_windows_length_decides_and_not_the_width_of_the_access() {
    let mut guest = FakeGuest::found(echo());
    guest.set_status(1);
    open(&mut guest, 0, 0x14, 1);

    assert_eq!(read(&mut guest, 0, 4), [1, 0, 0, 0]);
    write(&mut guest, &[3, 0xff, 0xff, 0xff]);

    assert_eq!(guest.status(), 3);
}

#[test]
fn the_windows_data_can_be_read_byte_by_byte() {
    let mut guest = FakeGuest::found(echo());
    open(&mut guest, 0, 0x2000, 4);

    assert_eq!(read(&mut guest, 1, 1), b"w");
    assert_eq!(read(&mut guest, 2, 2), b"el");
    assert_eq!(read(&mut guest, 3, 1), b"l");
}

#[test]
fn a_write_that_is_too_short_or_beside_the_data_changes_nothing() {
    let mut guest = FakeGuest::found(echo());
    open(&mut guest, 0, 0, 4);

    write(&mut guest, &[1, 0]);
    guest.device.write_config(guest.map.window + 17, &[1, 0, 0]);

    assert_eq!(guest.read(common::DEVICE_FEATURE_SELECT), 0);
    open(&mut guest, 0, 0x14, 1);
    guest.device.write_config(guest.map.window + 17, &[1]);
    assert_eq!(guest.status(), 0);
}

/// P3: bar, offset, length.
#[test]
fn a_window_that_is_not_allowed_shows_nothing_and_takes_nothing() {
    let lengths = [0, 3, 5, 8, 255, 0x0100_0001, u32::MAX].map(|length| (0, 0x14, length));
    let bars = [1, 5, 6, 255].map(|bar| (bar, 0x14, 1));
    let offsets = [(0, 0x8000, 1), (0, 0x7fff, 2), (0, u32::MAX, 1), (0, u32::MAX - 3, 4)];
    let unaligned = [(0, 0x2001, 2), (0, 0x2002, 4), (0, 0x2003, 4)];

    for (bar, offset, length) in [&lengths[..], &bars, &offsets, &unaligned].concat() {
        let mut guest = FakeGuest::found(echo());
        guest.set_status(1);
        open(&mut guest, bar, offset, length);
        write(&mut guest, &[3, 0, 0, 0]);
        assert_eq!(read(&mut guest, 0, 4), [0; 4], "{bar} {offset:#x} {length:#x}");
        assert_eq!(guest.status(), 1, "{bar} {offset:#x} {length:#x}");
    }
}

#[test]
fn the_window_keeps_its_registers() {
    let mut guest = FakeGuest::found(echo());
    let at = guest.map.window;

    open(&mut guest, 7, 0x1234_5678, 0x9abc_def0);

    let fields: [u8; 16] = crate::testing::pci::config(&mut guest.device, at);
    assert_eq!(fields[4..8], [7, 0, 0, 0]);
    assert_eq!(fields[8..], [0x78, 0x56, 0x34, 0x12, 0xf0, 0xde, 0xbc, 0x9a]);
}
