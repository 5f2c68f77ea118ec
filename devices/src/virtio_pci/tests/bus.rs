//! The command register (PCI 3.0, 6.2.2): the device reaches memory as bus master, and the
//! driver reaches the device where that answers to memory accesses.

use super::*;
use crate::testing::pci::COMMAND;
use crate::testing::threads::until_asleep;

const MEMORY: u16 = 0b010;
const MASTER: u16 = 0b100;
const BOTH: u16 = MEMORY | MASTER;

fn command(guest: &mut FakeGuest, bits: u16) {
    guest.device.write_config(COMMAND, &bits.to_le_bytes());
}

/// Linux takes the bus from devices before it starts another kernel (kexec), which gives
/// it back before it resets them: from then on not a byte of memory is theirs.
#[test]
fn a_device_that_lost_the_bus_serves_nothing_until_it_is_reset() {
    let mut guest = FakeGuest::new(echo());

    command(&mut guest, MEMORY);
    guest.rings[0].offer(&[FromGuest(b"a"), ToGuest(1)]);
    command(&mut guest, BOTH);
    let at = doorbell(&guest, 0);
    guest.device.write_memory(at, &[0, 0]);
    assert_eq!((guest.rings[0].used_index(), guest.device.threads().count()), (0, 0));

    guest.start();
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(guest.wait_used(0).len, 1);
}

/// 2.1.2. The interrupt is a write to memory, too.
#[test]
fn a_driver_that_continues_without_a_reset_gets_needs_reset() {
    let mut guest = FakeGuest::new(echo());

    command(&mut guest, MEMORY);
    assert_eq!(guest.status(), 15 | 64);
    assert!(!guest.machine.delivered(0));
    assert!(guest.pending(0));
    command(&mut guest, BOTH);

    guest.wait_config_interrupt();
    assert_eq!((guest.status(), guest.isr()), (15 | 64, 2));
    command(&mut guest, MEMORY);
    command(&mut guest, BOTH);
    assert!(!guest.machine.delivered(0), "interrupted twice");
}

/// A kernel that was started by kexec switches MSI-X off first.
#[test]
fn the_next_driver_sees_nothing_of_the_lost_bus() {
    let mut guest = FakeGuest::new(echo());

    command(&mut guest, MEMORY);
    let control = guest.map.msix + 2;
    guest.device.write_config(control, &[0, 0]);
    command(&mut guest, BOTH);
    guest.start();

    assert!(!guest.machine.delivered(0));
    assert_eq!((guest.status(), guest.isr()), (15, 0));
}

#[test]
fn losing_the_bus_before_driver_ok_needs_no_reset() {
    let mut guest = FakeGuest::found(echo());
    guest.set_up();

    command(&mut guest, MEMORY);
    command(&mut guest, BOTH);

    guest.set_status(15);
    assert_eq!(guest.status(), 15);
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(guest.wait_used(0).len, 1);
}

#[test]
fn a_device_becomes_live_when_it_gets_the_bus() {
    let mut guest = FakeGuest::found(echo());
    guest.set_up();
    command(&mut guest, MEMORY);

    guest.set_status(15);
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!((guest.rings[0].used_index(), guest.device.threads().count()), (0, 0));
    command(&mut guest, BOTH);

    assert_eq!(guest.wait_used(0).len, 1);
    guest.wait_interrupt(0);
}

/// Neither FAILED nor a reset is undone by the bus.
#[test]
fn a_failed_or_reset_device_does_not_start_when_it_gets_the_bus() {
    for last in [128 | 15, 0] {
        let mut guest = FakeGuest::found(echo());
        guest.set_up();
        command(&mut guest, MEMORY);
        guest.set_status(15);
        guest.set_status(last);

        command(&mut guest, BOTH);

        assert_eq!((guest.status(), guest.device.threads().count()), (last, 0));
    }
}

#[test]
fn doorbells_are_part_of_the_memory_that_is_switched_off() {
    let mut guest = FakeGuest::named("bell0", echo());
    until_asleep("bell0-one");

    command(&mut guest, MASTER);
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    let at = doorbell(&guest, 0);
    guest.device.write_memory(at, &[0, 0]);
    assert!(!guest.is_ringing(0));
    until_asleep("bell0-one");
    assert_eq!(guest.rings[0].used_index(), 0);
    command(&mut guest, BOTH);
    guest.notify(0);

    assert_eq!(guest.wait_used(0).len, 1);
}

/// After power-on, memory accesses are switched off.
#[test]
fn doorbells_are_wired_when_the_memory_is_switched_on() {
    let mut guest = FakeGuest::found(echo());
    let addresses: Vec<_> = guest.device.doorbells().iter().map(|(at, _)| *at).collect();
    let wired = |guest: &FakeGuest| addresses.iter().all(|at| guest.machine.is_wired(*at));
    assert!(wired(&guest));

    for bits in [0, MEMORY, 0, MASTER, BOTH, BOTH | 1 << 10, MASTER] {
        command(&mut guest, bits);
        assert_eq!(wired(&guest), bits & MEMORY != 0, "{bits:#b}");
    }
}
