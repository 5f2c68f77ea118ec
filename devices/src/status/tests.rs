//! Tests of what a device says of itself: breaking down, changing.

use crate::testing::FakeGuest;
use crate::testing::device::echo;
use crate::testing::log::lines;
use crate::testing::machine::until;
use crate::testing::pci::common;

/// Reset, then break the queue in way `number`.
fn break_down(guest: &mut FakeGuest, number: u16) {
    guest.start();
    guest.rings[0].set_avail_index(0x8000 + number);
    guest.notify(0);
    until("NEEDS_RESET", || guest.status() & 64 != 0);
}

#[test]
fn a_breakdown_is_logged_with_thread_and_reason() {
    let mut guest = FakeGuest::found_as("log0", echo());

    break_down(&mut guest, 7);

    until("a line in the log", || !lines("log0").is_empty());
    assert_eq!(
        lines("log0"),
        ["log0-one: the guest broke the protocol: avail index moved from 0 to 32775 on a queue \
          of 128; device needs a reset"]
    );
}

/// Two errors in turns, so that no two lines in a row are the same.
#[test]
fn a_guest_cannot_flood_the_log_with_breakdowns() {
    let mut guest = FakeGuest::found_as("flood0", echo());

    for number in 0..200 {
        break_down(&mut guest, number % 2);
    }

    assert!(lines("flood0").len() < 50);
}

#[test]
fn a_change_of_the_configuration_interrupts_and_counts() {
    let mut guest = FakeGuest::new(echo());
    let status = guest.device.status();

    status.config_changed();

    assert_eq!(guest.read(common::GENERATION), 1);
    guest.wait_config_interrupt();
}

#[test]
fn a_change_before_driver_ok_counts_but_does_not_interrupt() {
    let mut guest = FakeGuest::found(echo());
    guest.set_up();

    guest.device.status().config_changed();

    assert_eq!(guest.read(common::GENERATION), 1);
    assert!(!guest.machine.delivered(0));
}

#[test]
fn the_generation_wraps() {
    let mut guest = FakeGuest::found(echo());

    for _ in 0..=256 {
        guest.device.status().config_changed();
    }

    assert_eq!(guest.read(common::GENERATION), 1);
}
