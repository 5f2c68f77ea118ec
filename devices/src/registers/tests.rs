//! Tests of the common configuration as a driver meets it, through the BAR:
//! every rule that a driver can break, and what it reads back when it has.

use crate::queue::RING_FEATURES;
use crate::testing::FakeGuest;
use crate::testing::device::{FEATURE, echo};
use crate::testing::pci::{Register, common};

mod features;
mod queues;
mod status;

const NO_VECTOR: u64 = 0xffff;

/// The registers of the queue that is selected.
const QUEUE: [Register; 7] = [
    common::QUEUE_SIZE,
    common::QUEUE_VECTOR,
    common::QUEUE_ENABLE,
    common::QUEUE_NOTIFY_OFF,
    common::QUEUE_DESC,
    common::QUEUE_DRIVER,
    common::QUEUE_DEVICE,
];

/// What [`QUEUE`] reads for one queue.
fn queue_registers(guest: &mut FakeGuest, queue: u16) -> [u64; 7] {
    guest.write(common::QUEUE_SELECT, queue.into());
    QUEUE.map(|register| guest.read(register))
}

/// Everything but the status, the selectors and the queues.
fn read_only(guest: &mut FakeGuest) -> [u64; 3] {
    let generation = guest.read(common::GENERATION);
    [guest.offered(), guest.read(common::NUM_QUEUES), generation]
}

#[test]
fn registers_after_power_on() {
    let mut guest = FakeGuest::found(echo());

    assert_eq!(guest.status(), 0);
    assert_eq!(read_only(&mut guest), [RING_FEATURES | FEATURE, 2, 0]);
    assert_eq!(guest.accepted(), 0);
    assert_eq!(guest.read(common::CONFIG_VECTOR), NO_VECTOR);
    assert_eq!(queue_registers(&mut guest, 0), [128, NO_VECTOR, 0, 0, 0, 0, 0]);
    assert_eq!(queue_registers(&mut guest, 1), [64, NO_VECTOR, 0, 1, 0, 0, 0]);
}

#[test]
fn read_only_registers_cannot_be_written() {
    let mut guest = FakeGuest::new(echo());
    let before = (read_only(&mut guest), queue_registers(&mut guest, 1));

    for register in
        [common::DEVICE_FEATURE, common::NUM_QUEUES, common::GENERATION, common::QUEUE_NOTIFY_OFF]
    {
        guest.write(register, !0);
    }

    assert_eq!((read_only(&mut guest), queue_registers(&mut guest, 1)), before);
}

#[test]
fn reset_restores_every_register() {
    let mut guest = FakeGuest::new(echo());
    guest.write(common::DEVICE_FEATURE_SELECT, 7);
    guest.write(common::DRIVER_FEATURE_SELECT, 8);
    guest.write(common::QUEUE_SELECT, 9);

    guest.set_status(0);

    let selectors =
        [common::DEVICE_FEATURE_SELECT, common::DRIVER_FEATURE_SELECT, common::QUEUE_SELECT];
    assert_eq!(selectors.map(|select| guest.read(select)), [0; 3]);
    assert_eq!((guest.status(), guest.accepted()), (0, 0));
    assert_eq!(guest.read(common::CONFIG_VECTOR), NO_VECTOR);
    assert_eq!(queue_registers(&mut guest, 0), [128, NO_VECTOR, 0, 0, 0, 0, 0]);
    assert_eq!(queue_registers(&mut guest, 1), [64, NO_VECTOR, 0, 1, 0, 0, 0]);
}

#[test]
fn a_vector_past_the_table_reads_back_as_none() {
    for vector in [3, 4, 0x800, 0xfffe, 0xffff] {
        let mut guest = FakeGuest::found(echo());
        guest.negotiate();
        guest.write(common::CONFIG_VECTOR, vector);
        guest.write(common::QUEUE_VECTOR, vector);
        assert_eq!(guest.read(common::CONFIG_VECTOR), NO_VECTOR, "{vector:#x}");
        assert_eq!(guest.read(common::QUEUE_VECTOR), NO_VECTOR, "{vector:#x}");
    }
}

#[test]
fn the_last_vector_can_be_used_twice() {
    let mut guest = FakeGuest::found(echo());
    guest.negotiate();

    guest.write(common::CONFIG_VECTOR, 2);
    guest.write(common::QUEUE_VECTOR, 2);

    assert_eq!(guest.read(common::CONFIG_VECTOR), 2);
    assert_eq!(guest.read(common::QUEUE_VECTOR), 2);
}

/// Linux takes the configuration's vector back before it lets the device go.
#[test]
fn the_configuration_vector_can_be_taken_back_while_the_device_runs() {
    let mut guest = FakeGuest::new(echo());

    guest.write(common::CONFIG_VECTOR, NO_VECTOR);

    assert_eq!(guest.read(common::CONFIG_VECTOR), NO_VECTOR);
    guest.device.status().config_changed();
    assert!(!guest.machine.delivered(0));
}
