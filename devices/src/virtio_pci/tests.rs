//! Tests of the transport as a whole: notifications, setting up and resetting,
//! and accesses of any kind anywhere.

use crate::testing::FakeGuest;
use crate::testing::device::{FakeDevice, echo};
use crate::testing::machine::until;
use crate::testing::pci::common;
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::ring::Ring;
use crate::testing::threads::no_threads;
use crate::testing::{BAR, HIGH_RAM, RAM_END};

mod access;
mod bus;
mod state;
mod window;

/// Where the doorbell of a queue lies in the BAR.
fn doorbell(guest: &FakeGuest, queue: u64) -> u64 {
    guest.map.notify + guest.map.notify_step * queue
}

#[test]
fn every_queue_has_a_doorbell_of_its_own_where_the_capability_says() {
    let mut guest = FakeGuest::new(echo());

    let doorbells = guest.device.doorbells();

    let addresses: Vec<_> = doorbells.iter().map(|(address, _)| *address).collect();
    let mut expected = Vec::new();
    for queue in [0, 1] {
        guest.write(common::QUEUE_SELECT, queue);
        let offset = guest.read(common::QUEUE_NOTIFY_OFF);
        expected.push(u64::from(BAR) + doorbell(&guest, offset));
    }
    assert_eq!(addresses, expected);
}

/// S10: whatever is written, however wide.
#[test]
fn a_write_to_the_doorbell_notifies_its_queue() {
    let mut guest = FakeGuest::new(echo());

    for width in [1, 2, 4, 8] {
        guest.rings[1].offer(&[FromGuest(b"a"), ToGuest(1)]);
        let at = doorbell(&guest, 1);
        guest.device.write_memory(at, &[0xff; 8][..width]);
        assert_eq!(guest.wait_used(1).len, 1, "{width} bytes");
    }
}

#[test]
fn a_write_to_a_doorbell_that_does_not_exist_changes_nothing() {
    let mut guest = FakeGuest::new(echo());

    for at in (doorbell(&guest, 2)..guest.map.notify + 0x1000).step_by(2) {
        guest.device.write_memory(at, &[1, 0]);
    }

    assert!(guest.device.doorbells().len() == 2);
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(guest.wait_used(0).len, 1);
}

#[test]
fn a_storm_of_notifications_does_no_harm() {
    let mut guest = FakeGuest::new(echo());

    for _ in 0..20_000 {
        guest.notify(0);
        let at = doorbell(&guest, 1);
        guest.device.write_memory(at, &[0, 0]);
    }

    guest.offer(1, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(guest.wait_used(1).len, 1);
}

/// S9: no thread is there to hear it, but the request is not forgotten.
#[test]
fn a_notification_before_driver_ok_is_served_after_it() {
    let mut guest = FakeGuest::found(echo());
    guest.set_up();
    guest.rings[0].offer(&[FromGuest(b"a"), ToGuest(1)]);
    let at = doorbell(&guest, 0);
    guest.device.write_memory(at, &[0, 0]);
    assert_eq!(guest.rings[0].used_index(), 0);

    guest.set_status(15);

    assert_eq!(guest.wait_used(0).len, 1);
}

/// Q4, Q5: the registers take any address; DRIVER_OK looks at them.
#[test]
fn rings_that_are_misaligned_or_outside_ram_need_a_reset() {
    let registers = [common::QUEUE_DESC, common::QUEUE_DRIVER, common::QUEUE_DEVICE];
    for address in [0x1001, RAM_END, u64::from(BAR), HIGH_RAM + 0xff0, !15, u64::MAX] {
        for register in registers {
            let mut guest = FakeGuest::found(echo());
            guest.negotiate();
            guest.enable_msix();
            guest.write(common::CONFIG_VECTOR, 0);
            guest.set_up_queue(0);
            guest.write(register, address);
            guest.enable_queue(0);
            guest.set_status(15);
            assert_eq!(guest.status(), 15 | 64, "{address:#x} in {register:?}");
            guest.wait_config_interrupt();
        }
    }
}

#[test]
fn a_queue_that_was_set_up_wrongly_leaves_the_others_alone() {
    let mut guest = FakeGuest::found(echo());
    guest.set_up();
    guest.negotiate();
    guest.set_up_queue(0);
    guest.write(common::QUEUE_DESC, 1);
    guest.enable_queue(0);
    guest.set_up_queue(1);
    guest.enable_queue(1);

    guest.set_status(15);

    guest.offer(1, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(guest.wait_used(1).len, 1);
}

/// Q9.
#[test]
fn driver_ok_without_any_queue_is_quiet() {
    let mut guest = FakeGuest::found(echo());
    guest.negotiate();

    guest.set_status(15);
    guest.device.write_memory(doorbell(&guest, 0), &[0, 0]);

    assert_eq!(guest.status(), 15);
    assert!(guest.machine.failures().is_empty());
}

/// Everything that a queue has in guest memory.
fn ring_memory(ring: &Ring) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(Ring::BYTES).unwrap()];
    ring.read(ring.layout.descriptors, &mut bytes);
    bytes
}

/// S12, S16: while the device is hard at work.
#[test]
fn after_status_reads_0_memory_stays_as_it_is_and_no_interrupt_comes() {
    let mut guest = FakeGuest::found_as("poison0", echo());
    guest.without = 1 << 29;
    for _ in 0..20 {
        guest.start();
        for _ in 0..60 {
            guest.offer(0, &[FromGuest(b"poison"), ToGuest(6)]);
        }
        guest.reset();
        let used = guest.rings[0].used_index();
        guest.machine.delivered(1);
        guest.offer(0, &[FromGuest(b"late"), ToGuest(4)]);
        let before = ring_memory(&guest.rings[0]);
        // Afterwards no thread can serve the request.
        no_threads("poison0");
        assert_eq!(guest.rings[0].used_index(), used);
        assert!(ring_memory(&guest.rings[0]) == before);
        assert!(!guest.machine.delivered(1));
    }
}

/// S15: the second driver begins where a first would.
#[test]
fn a_queue_begins_at_0_again_after_a_reset() {
    let mut guest = FakeGuest::new(echo());
    for _ in 0..5 {
        guest.offer(0, &[ToGuest(1)]);
        guest.wait_used(0);
    }

    guest.start();
    let head = guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);

    assert_eq!(guest.wait_used(0).id, u32::from(head));
    assert_eq!(guest.rings[0].used_index(), 1);
}

#[test]
fn a_reset_before_anything_was_set_up_is_harmless() {
    let mut guest = FakeGuest::found(echo());

    for _ in 0..1000 {
        guest.set_status(0);
        guest.set_status(1);
        guest.set_status(0);
        guest.set_status(1);
        guest.set_status(3);
    }

    guest.start();
    assert_eq!(guest.status(), 15);
}

#[test]
fn the_features_accepted_reach_the_service() {
    let device = FakeDevice::new(|_, _| Ok(()));
    let mut guest = FakeGuest::new(device);

    assert_eq!(guest.accepted(), guest.offered());
    guest.offer(0, &[FromGuest(b"a")]);

    until("the answer", || guest.rings[0].used_index() == 1);
}
