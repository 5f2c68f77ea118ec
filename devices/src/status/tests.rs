//! Tests of what a device says of itself: breaking down, changing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use vmm_sys_util::eventfd::EventFd;

use super::DeviceStatus;
use crate::testing::FakeGuest;
use crate::testing::device::echo;
use crate::testing::log::lines;
use crate::testing::machine::{FakeMachine, until};
use crate::testing::pci::{common, config};

/// Reset, then violate the queue's protocol. Each `number` is another error.
fn violate_protocol(guest: &mut FakeGuest, number: u16) {
    guest.start();
    guest.rings[0].set_avail_index(0x8000 + number);
    guest.notify(0);
    until("NEEDS_RESET", || guest.status() & 64 != 0);
}

#[test]
fn a_protocol_violation_is_logged_with_thread_and_reason() {
    let mut guest = FakeGuest::found_as("log0", echo());

    violate_protocol(&mut guest, 7);

    until("a line in the log", || !lines("log0").is_empty());
    assert_eq!(
        lines("log0"),
        ["log0-one: the guest broke the protocol: avail index moved from 0 to 32775 on a queue \
          of 128; device needs a reset"]
    );
}

/// Two errors in turns, so that no two lines in a row are the same.
#[test]
fn a_guest_cannot_flood_the_log_with_protocol_violations() {
    let mut guest = FakeGuest::found_as("flood0", echo());

    for number in 0..200 {
        violate_protocol(&mut guest, number % 2);
    }

    assert!(lines("flood0").len() < 50);
}

#[test]
fn a_change_of_the_configuration_interrupts() {
    let mut guest = FakeGuest::new(echo());

    guest.device.status().config_changed();

    guest.wait_config_interrupt();
    assert_eq!(guest.isr(), 2);
}

#[test]
fn a_change_before_driver_ok_does_not_interrupt() {
    let mut guest = FakeGuest::found(echo());
    guest.set_up();

    guest.device.status().config_changed();

    assert!(!guest.machine.delivered(0));
    assert_eq!(guest.isr(), 0);
}

/// A driver that has masked the vector, or has chosen none, finds the bit (4.1.4.5.1).
#[test]
fn isr_status_is_set_whether_or_not_the_interrupt_can_be_sent() {
    let mut guest = FakeGuest::new(echo());
    guest.mask(0, true);
    guest.device.status().config_changed();
    assert!(guest.pending(0));
    assert_eq!([guest.isr(), guest.isr()], [2, 0]);

    guest.write(common::CONFIG_VECTOR, 0xffff);
    guest.device.status().config_changed();
    assert_eq!([guest.isr(), guest.isr()], [2, 0]);
}

#[test]
fn a_reset_clears_isr_status() {
    let mut guest = FakeGuest::new(echo());
    guest.mask(0, true);
    guest.device.status().config_changed();

    guest.set_status(0);

    assert_eq!(guest.isr(), 0);
    assert!(!guest.pending(0));
}

/// 4.1.4.5.1, without MSI-X: bit 3 of the status register in the configuration space.
#[test]
fn isr_status_shows_in_the_configuration_space_without_msi_x() {
    let mut guest = FakeGuest::new(echo());
    let waits = |guest: &mut FakeGuest| config::<2>(&mut guest.device, 6)[0] & 8 != 0;
    guest.device.status().config_changed();
    assert!(!waits(&mut guest), "though MSI-X is on");

    let control = guest.map.msix + 2;
    guest.device.write_config(control, &[0, 0]);

    assert!(waits(&mut guest));
    assert_eq!(config::<4>(&mut guest.device, 4)[2], 0x18);
    assert_eq!(guest.isr(), 2);
    assert!(!waits(&mut guest));
}

/// 2.4.1: however busy the host is with changes, none is announced once the reset is done.
#[test]
fn no_interrupt_comes_after_a_reset() {
    let vector = Arc::new(EventFd::new(libc::EFD_NONBLOCK).unwrap());
    let machine = Arc::new(FakeMachine::default());
    let status = DeviceStatus::new("late0", vec![Arc::clone(&vector)], machine);
    let stop = AtomicBool::new(false);
    let (mut late, mut changes) = (0, 0);
    thread::scope(|scope| {
        let host = scope.spawn(|| {
            let mut changes = 0;
            while !stop.load(Ordering::Relaxed) {
                status.config_changed();
                changes += 1;
            }
            changes
        });
        for _ in 0..200_000 {
            status.set_config_vector(0);
            status.set(15);
            status.reset();
            let _ = vector.read();
            // The thread that was about to interrupt does so now.
            (0..20).for_each(|_| std::hint::spin_loop());
            late += u32::from(vector.read().is_ok());
        }
        stop.store(true, Ordering::Relaxed);
        changes = host.join().unwrap();
    });
    assert!(changes > 0);
    assert_eq!(late, 0, "interrupts after a reset, of {changes} changes");
}
