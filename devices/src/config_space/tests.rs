//! Tests of the configuration space as PCI enumeration sees it.

use crate::testing::device::echo;
use crate::testing::pci::{BAR0, COMMAND, Map, config};
use crate::testing::{BAR, FakeGuest};
use crate::virtio_pci::BAR_SIZE;

fn dword(guest: &mut FakeGuest, at: usize) -> u32 {
    u32::from_le_bytes(config(&mut guest.device, at))
}

fn set_dword(guest: &mut FakeGuest, at: usize, value: u32) {
    guest.device.write_config(at, &value.to_le_bytes());
}

#[test]
fn the_header_is_of_a_modern_virtio_device() {
    let mut guest = FakeGuest::found(echo());

    assert_eq!(dword(&mut guest, 0x00), 0x106a_1af4);
    assert_eq!(dword(&mut guest, 0x08) & 0xff, 1);
    assert_eq!(dword(&mut guest, 0x0c), 0);
    assert_eq!(dword(&mut guest, 0x2c), 0x106a_1af4);
    assert_eq!(dword(&mut guest, 0x3c), 0, "no interrupt pin");
}

#[test]
fn the_capabilities_lie_in_the_bar_and_apart() {
    let Map { common, notify, isr, device, msix_table, msix_pending, vectors, .. } =
        FakeGuest::found(echo()).map;

    let mut starts = [common, notify, isr, device, msix_table, msix_pending];
    starts.sort_unstable();

    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 0x1000));
    assert!(starts[5] + 0x1000 <= u64::from(BAR_SIZE));
    assert_eq!(vectors, 3);
}

/// P6: what Linux does with every BAR when it finds the device.
#[test]
fn the_bar_reports_its_size_and_keeps_its_address() {
    let mut guest = FakeGuest::found(echo());

    set_dword(&mut guest, BAR0, !0);
    assert_eq!(dword(&mut guest, BAR0), !(BAR_SIZE - 1));
    set_dword(&mut guest, BAR0, BAR);

    assert_eq!(dword(&mut guest, BAR0), BAR);
}

#[test]
fn the_bar_cannot_be_moved() {
    for to in [0, 0x1000, BAR + BAR_SIZE, 0x7fff_8000, !0 - 1] {
        let mut guest = FakeGuest::new(echo());
        set_dword(&mut guest, BAR0, to);
        assert_eq!(dword(&mut guest, BAR0), BAR);
        assert_eq!(guest.status(), 15);
    }
}

#[test]
fn a_part_of_the_bar_cannot_be_written() {
    let mut guest = FakeGuest::found(echo());

    guest.device.write_config(BAR0, &[0xff; 2]);
    guest.device.write_config(BAR0 + 2, &[0xff; 2]);
    guest.device.write_config(BAR0 + 3, &[0xff]);

    assert_eq!(dword(&mut guest, BAR0), BAR);
}

#[test]
fn there_is_no_other_bar_and_no_rom() {
    let mut guest = FakeGuest::found(echo());

    for at in [0x14, 0x18, 0x1c, 0x20, 0x24, 0x30] {
        set_dword(&mut guest, at, !0);
        assert_eq!(dword(&mut guest, at), 0);
    }
}

#[test]
fn the_command_register_has_three_bits() {
    let mut guest = FakeGuest::found(echo());

    set_dword(&mut guest, COMMAND, !0);

    assert_eq!(dword(&mut guest, COMMAND), 0x0010_0406);
}

#[test]
fn msix_control_has_two_bits() {
    let mut guest = FakeGuest::found(echo());
    let at = guest.map.msix + 2;

    guest.device.write_config(at, &[0xff, 0xff]);
    assert_eq!(config(&mut guest.device, at), [2, 0xc0]);
    guest.device.write_config(at, &[0, 0]);

    assert_eq!(config(&mut guest.device, at), [2, 0]);
}

#[test]
fn bytes_behind_the_end_read_as_ones() {
    let mut guest = FakeGuest::found(echo());
    let mut bytes = [0; 8];

    guest.device.read_config(0xfc, &mut bytes);

    assert_eq!(bytes, [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
}
