//! Tests of MSI-X through the BAR and the configuration space. Vector 0 is that
//! of the configuration here, and `config_changed` what sends its interrupt.

use crate::interrupt::MsiMessage;
use crate::testing::FakeGuest;
use crate::testing::device::echo;
use crate::testing::log::lines;
use crate::testing::machine::LineRequest::{Connect, Disconnect};
use crate::testing::ring::Part::FromGuest;

const ON: u16 = 0x8000;
const FUNCTION_MASK: u16 = 0x4000;

fn message(address: u64, data: u32) -> MsiMessage {
    MsiMessage { address, data }
}

fn set_control(guest: &mut FakeGuest, control: u16) {
    guest.device.write_config(guest.map.msix + 2, &control.to_le_bytes());
}

/// Offset of a field of a table entry.
fn entry(guest: &FakeGuest, vector: u64, field: u64) -> u64 {
    guest.map.msix_table + 16 * vector + field
}

fn read_dword(guest: &mut FakeGuest, at: u64) -> u32 {
    let mut bytes = [0; 4];
    guest.device.read_memory(at, &mut bytes);
    u32::from_le_bytes(bytes)
}

/// A device that is up; what was asked of the machine until then is forgotten.
fn up() -> FakeGuest {
    let guest = FakeGuest::new(echo());
    guest.machine.requests();
    guest
}

fn change(guest: &FakeGuest) {
    guest.device.status().config_changed();
}

#[test]
fn after_power_on_every_vector_is_masked_and_disconnected() {
    let mut guest = FakeGuest::found(echo());

    for vector in 0..3 {
        let at = entry(&guest, vector, 12);
        assert_eq!(read_dword(&mut guest, at), 1);
    }

    assert_eq!(guest.machine.requests(), []);
}

/// Sets MSI-X up as Linux does: enable it masked, fill the table, unmask it.
#[test]
fn vectors_are_connected_when_they_are_unmasked() {
    let mut guest = FakeGuest::found(echo());
    set_control(&mut guest, ON | FUNCTION_MASK);
    guest.set_vector(1, 0xfee0_1000, 0x41);
    guest.mask(1, false);
    assert_eq!(guest.machine.requests(), []);

    set_control(&mut guest, ON);
    guest.set_vector(2, 0xfee0_2000, 0x42);
    guest.mask(2, false);

    let expected = [Connect(1, message(0xfee0_1000, 0x41)), Connect(2, message(0xfee0_2000, 0x42))];
    assert_eq!(guest.machine.requests(), expected);
}

#[test]
fn each_way_to_mask_disconnects_vectors() {
    let mut guest = up();

    guest.mask(0, true);
    assert_eq!(guest.machine.requests(), [Disconnect(0)]);
    set_control(&mut guest, ON | FUNCTION_MASK);
    assert_eq!(guest.machine.requests(), [Disconnect(1), Disconnect(2)]);
    guest.mask(0, false);
    set_control(&mut guest, 0);
    assert_eq!(guest.machine.requests(), []);
}

#[test]
fn a_message_that_changes_while_unmasked_is_connected_again() {
    let mut guest = up();

    let at = entry(&guest, 1, 8);
    guest.device.write_memory(at, &0x99_u32.to_le_bytes());

    assert_eq!(guest.machine.requests(), [Disconnect(1), Connect(1, message(0xfee0_0000, 0x99))]);
}

#[test]
fn writing_the_same_value_again_does_not_reach_the_machine() {
    let mut guest = up();

    set_control(&mut guest, ON);
    guest.set_vector(1, 0xfee0_0000, 1);
    guest.mask(1, false);

    assert_eq!(guest.machine.requests(), []);
}

#[test]
fn an_interrupt_while_masked_is_pending_and_delivered_when_unmasked() {
    let mut guest = up();
    guest.mask(0, true);
    assert!(!guest.pending(0));

    change(&guest);
    assert!(guest.pending(0) && !guest.pending(1) && !guest.machine.delivered(0));
    assert!(guest.pending(0), "looking does not clear it");
    guest.set_vector(0, 0xfee0_5000, 5);
    guest.mask(0, false);

    let asked = [Disconnect(0), Connect(0, message(0xfee0_5000, 5))];
    assert_eq!(guest.machine.requests(), asked);
    assert!(guest.machine.delivered(0));
    assert!(!guest.pending(0));
}

#[test]
fn an_interrupt_under_the_function_mask_is_pending_too() {
    let mut guest = up();
    set_control(&mut guest, ON | FUNCTION_MASK);

    change(&guest);
    guest.offer(1, &[FromGuest(b"a")]);
    guest.wait_used(1);
    crate::testing::machine::until("the pending bit", || guest.pending(2));

    assert!(guest.pending(0) && !guest.pending(1));
    set_control(&mut guest, ON);
    assert!(guest.machine.delivered(0) && !guest.machine.delivered(1));
    assert!(guest.machine.delivered(2));
}

/// KVM sends a pending interrupt when an irqfd is connected, but does not clear the count.
#[test]
fn a_delivered_interrupt_is_not_pending_again() {
    let mut guest = up();
    guest.mask(0, true);
    change(&guest);

    guest.mask(0, false);
    guest.mask(0, true);

    assert!(!guest.pending(0));
}

#[test]
fn pending_bits_cannot_be_written() {
    let mut guest = up();
    guest.mask(0, true);

    guest.device.write_memory(guest.map.msix_pending, &[0xff; 8]);
    assert!(!guest.pending(0));
    change(&guest);
    guest.device.write_memory(guest.map.msix_pending, &[0; 8]);

    assert!(guest.pending(0));
}

#[test]
fn a_reset_discards_pending_interrupts() {
    let mut guest = up();
    guest.mask(0, true);
    change(&guest);

    guest.set_status(0);

    assert!(!guest.pending(0));
    guest.mask(0, false);
    assert!(!guest.machine.delivered(0));
}

#[test]
fn narrow_writes_to_the_table_change_nothing() {
    let mut guest = up();
    let before: Vec<u32> = (0..12).map(|at| read_dword(&mut guest, 0x4000 + 4 * at)).collect();

    for at in 0..48 {
        for width in [1, 2, 3] {
            guest.device.write_memory(0x4000 + at, &[0xff; 3][..width]);
        }
    }

    let after: Vec<u32> = (0..12).map(|at| read_dword(&mut guest, 0x4000 + 4 * at)).collect();
    assert_eq!(after, before);
    assert_eq!(guest.machine.requests(), []);
}

#[test]
fn unaligned_writes_to_the_table_change_nothing() {
    let mut guest = up();

    for at in (0..48).filter(|at| at % 4 != 0) {
        guest.device.write_memory(0x4000 + at, &[0xff; 4]);
        guest.device.write_memory(0x4000 + at, &[0xff; 8]);
    }

    assert_eq!(guest.machine.requests(), []);
}

#[test]
fn behind_its_end_the_table_reads_as_zero_and_ignores_writes() {
    let mut guest = up();

    for vector in [3, 4, 100, 255] {
        guest.device.write_memory(entry(&guest, vector, 8), &[0xff; 8]);
        let at = entry(&guest, vector, 12);
        assert_eq!(read_dword(&mut guest, at), 0);
    }

    assert_eq!(guest.machine.requests(), []);
}

#[test]
fn only_the_mask_bit_and_whole_dword_addresses_are_kept() {
    let mut guest = FakeGuest::found(echo());

    guest.set_vector(0, !0, !0);
    let at = entry(&guest, 0, 12);
    guest.device.write_memory(at, &0xffff_fffe_u32.to_le_bytes());

    let entry: Vec<u32> = (0..4).map(|at| read_dword(&mut guest, 0x4000 + 4 * at)).collect();
    assert_eq!(entry, [0xffff_fffc, 0xffff_ffff, 0xffff_ffff, 0]);
}

/// P5: the machine cannot route it; the device lives on, the vector can be mended.
#[test]
fn an_address_that_cannot_be_routed_does_not_end_the_machine() {
    let mut guest = up();
    guest.mask(0, true);
    guest.machine.refuse(!3);

    guest.set_vector(0, !0, !0);
    guest.mask(0, false);
    change(&guest);
    assert!(!guest.machine.delivered(0));
    guest.mask(0, true);
    guest.set_vector(0, 0xfee0_0000, 9);
    guest.mask(0, false);

    assert!(guest.machine.delivered(0));
}

#[test]
fn an_address_that_cannot_be_routed_does_not_fill_the_log() {
    let mut guest = FakeGuest::new(echo());
    guest.machine.refuse(0xdead_beec);

    for _ in 0..50 {
        guest.set_vector(1, 0xdead_beec, 1);
        guest.set_vector(1, 0xfee0_0000, 1);
        set_control(&mut guest, ON);
    }

    let complaints = lines("0xdeadbeec").len();
    assert!((1..10).contains(&complaints), "{complaints} lines");
}

#[test]
fn a_storm_of_masks_loses_no_interrupt() {
    let mut guest = up();

    for _ in 0..500 {
        guest.rings[0].set_used_event(guest.rings[0].avail_index);
        guest.offer(0, &[FromGuest(b"a")]);
        guest.mask(1, true);
        guest.mask(1, false);
        guest.wait_interrupt(0);
    }

    assert_eq!(guest.rings[0].used_index(), 500);
}
