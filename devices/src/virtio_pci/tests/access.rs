//! Accesses of any width at any place: nothing panics, and read-only registers keep their
//! values.

use crate::testing::FakeGuest;
use crate::testing::device::echo;
use crate::testing::pci::{BAR0, COMMAND, common, config};
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::virtio_pci::BAR_SIZE;

const WIDTHS: [usize; 5] = [1, 2, 3, 4, 8];

/// What no driver can change, whatever it does.
fn identity(guest: &mut FakeGuest) -> (Vec<u8>, Vec<u8>, u64, u64) {
    let space: [u8; 256] = config(&mut guest.device, 0);
    let writable = [0x04..0x06, 0x3c..0x3d, 0x43..0x44, 0x80..0xa4];
    let fixed = (0..256).filter(|at| !writable.iter().any(|range| range.contains(at)));
    let fixed = fixed.map(|at| space[at]).collect();
    let mut device_config = vec![0; 32];
    guest.device.read_memory(guest.map.device, &mut device_config);
    (fixed, device_config, guest.offered(), guest.read(common::NUM_QUEUES))
}

#[test]
fn every_access_to_the_bar_is_harmless() {
    let mut guest = FakeGuest::new(echo());
    let before = identity(&mut guest);

    for at in 0..u64::from(BAR_SIZE) + 16 {
        for width in WIDTHS {
            for fill in [0x00, 0xff] {
                guest.device.write_memory(at, &[fill; 8][..width]);
                guest.device.read_memory(at, &mut [0; 8][..width]);
            }
        }
    }

    assert_eq!(identity(&mut guest), before);
    guest.start();
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(guest.wait_used(0).len, 1);
}

#[test]
fn every_access_to_the_configuration_space_is_harmless() {
    let mut guest = FakeGuest::new(echo());
    let before = identity(&mut guest);

    for at in 0..0x110 {
        for width in WIDTHS {
            for fill in [0x00, 0xff, 0x04] {
                guest.device.write_config(at, &[fill; 8][..width]);
                guest.device.read_config(at, &mut [0; 8][..width]);
            }
        }
    }

    guest.device.write_config(BAR0, &[0; 4]);
    guest.device.write_config(COMMAND, &[6, 0]);
    // The device has lost the bus. ISR status says so, and so does the PCI status register until ISR
    // status is read.
    assert_eq!(guest.isr(), 2);
    assert_eq!(identity(&mut guest), before);
    guest.start();
    assert_eq!(guest.status(), 15);
}

#[test]
fn accesses_at_the_end_of_the_address_space_are_harmless() {
    let mut guest = FakeGuest::new(echo());

    for at in [u64::MAX, u64::MAX - 3, u64::MAX - 7, 1 << 63, u64::from(u32::MAX)] {
        let mut bytes = [0x55; 8];
        guest.device.write_memory(at, &bytes);
        guest.device.read_memory(at, &mut bytes);
        assert_eq!(bytes, [0; 8]);
    }
    for at in [usize::MAX, usize::MAX - 3, 1 << 32] {
        let mut bytes = [0x55; 8];
        guest.device.write_config(at, &bytes);
        guest.device.read_config(at, &mut bytes);
        assert_eq!(bytes, [0xff; 8]);
    }
}

#[test]
fn with_memory_decode_off_the_bar_does_not_answer() {
    let mut guest = FakeGuest::new(echo());
    guest.device.write_config(COMMAND, &[4, 0]);

    assert_eq!(guest.status(), 0xff);
    guest.set_status(0);
    guest.device.write_config(COMMAND, &[6, 0]);

    assert_eq!(guest.status(), 15);
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(guest.wait_used(0).len, 1);
}

/// P2.
#[test]
fn the_device_configuration_reads_as_zero_past_its_end() {
    let mut guest = FakeGuest::found(echo());
    let at = guest.map.device;
    let mut read = |at, width| {
        let mut bytes = [0x55; 8];
        guest.device.read_memory(at, &mut bytes[..width]);
        bytes[..width].to_vec()
    };

    assert_eq!(read(at, 8), b"twelve b");
    assert_eq!(read(at + 7, 3), b"byt");
    assert_eq!(read(at + 10, 4), b"es\0\0");
    assert_eq!(read(at + 12, 8), [0; 8]);
    assert_eq!(read(at + 0xffc, 8), [0; 8]);
}

#[test]
fn the_device_configuration_is_read_only() {
    let mut guest = FakeGuest::new(echo());
    let before = identity(&mut guest);

    guest.device.write_memory(guest.map.device, &[0xff; 8]);

    assert_eq!(identity(&mut guest), before);
}

/// P7: only reads clear it, and only those of its one byte.
#[test]
fn isr_status_is_one_byte_and_read_only() {
    let mut guest = FakeGuest::new(echo());
    guest.device.status().config_changed();

    guest.device.write_memory(guest.map.isr, &[0]);
    let mut beside = [0x55; 4];
    guest.device.read_memory(guest.map.isr + 1, &mut beside);
    let mut wide = [0x55; 4];
    guest.device.read_memory(guest.map.isr, &mut wide);

    assert_eq!((beside, wide), ([0; 4], [2, 0, 0, 0]));
    assert_eq!(guest.isr(), 0);
}

#[test]
fn eight_bytes_are_two_registers_of_four() {
    let mut guest = FakeGuest::found(echo());

    guest.device.write_memory(guest.map.common, &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);

    let mut bytes = [0; 8];
    guest.device.read_memory(guest.map.common, &mut bytes);
    assert_eq!(bytes, [1, 0, 0, 0, 1, 0, 0, 0]);
}
