//! The empty buffer with which con0-rx finds out whether the guest listens.

use super::*;
use crate::testing::ring::Part::ToGuest;
use crate::testing::ring::Used;
use crate::testing::threads::until_asleep;

/// A console that has probed a driver with a full ring, which has not
/// answered; with "hello" typed already.
fn probed(name: &str, without: u64) -> (FakeGuest, PipeWriter, PipeReader) {
    let (console, mut keyboard, screen) = console();
    let mut guest = FakeGuest::found_as(name, console);
    guest.without = without;
    guest.start();
    keyboard.write_all(b"hello").unwrap();
    for _ in 0..64 {
        guest.rings[RX].offer(&[ToGuest(10)]);
    }
    guest.notify(RX);
    assert_eq!(guest.wait_used(RX), Used { id: 0, len: 0 });
    (guest, keyboard, screen)
}

#[test]
fn input_waits_until_the_empty_buffer_is_back() {
    for (name, without) in [("await0", 0), ("await1", 1 << 29)] {
        let (mut guest, _keyboard, _screen) = probed(name, without);
        until_asleep(&format!("{name}-rx"));
        assert_eq!(guest.rings[RX].used_index(), 1);
        assert!(!guest.machine.delivered(1) && !guest.machine.delivered(0));

        guest.rings[RX].publish(0);
        guest.notify(RX);

        assert_eq!(guest.wait_used(RX), Used { id: 1, len: 5 });
        assert_eq!(guest.bytes(RX, 1)[..5], *b"hello");
        guest.wait_config_interrupt();
    }
}

/// The driver answers without being asked for a notification before its time.
#[test]
fn only_the_answer_needs_a_notification() {
    let (guest, _keyboard, _screen) = probed("fake0", 0);

    until("the index of the answer", || guest.rings[RX].avail_event() == 64);
}

#[test]
fn a_notification_that_is_no_answer_changes_nothing() {
    let (guest, _keyboard, _screen) = probed("noise0", 0);

    for _ in 0..20 {
        guest.notify(RX);
        until("the doorbell is answered", || !guest.is_ringing(RX));
        until_asleep("noise0-rx");
    }

    assert_eq!(guest.rings[RX].used_index(), 1);
}

/// A driver that waits for an interrupt, or that does not fill its ring.
#[test]
fn a_driver_that_does_not_answer_is_interrupted_and_gets_its_input() {
    let (mut guest, _keyboard, _screen) = probed("fake0", 0);

    guest.wait_interrupt(0);

    assert_eq!(guest.wait_used(RX), Used { id: 1, len: 5 });
}

/// While it is patient, and when it no longer is: it has called the driver then.
#[test]
fn a_reset_does_not_wait_for_an_answer() {
    let reset = |is_patient: bool| {
        let (console, _keyboard, _screen) = console();
        let mut guest = FakeGuest::named("stay0", console);
        guest.offer(RX, &[ToGuest(10)]);
        guest.wait_used(RX);
        if !is_patient {
            guest.wait_interrupt(0);
        }
        until_asleep("stay0-rx");
        guest.reset();
        !guest.machine.delivered(1)
    };
    // A busy machine may spend all the patience before the reset: then once more.
    until("a reset before the driver is called", || reset(true));
    reset(false);
}

#[test]
fn a_hostile_index_is_found_while_probing() {
    let (mut guest, _keyboard, _screen) = probed("fake0", 0);

    guest.rings[RX].set_avail_index(66);
    guest.notify(RX);

    until("NEEDS_RESET", || guest.status() == 15 | 64);
}

/// The empty buffer is one of those that input is to go to.
#[test]
fn a_buffer_that_cannot_be_written_to_is_found_while_probing() {
    for parts in [&[Part::FromGuest(b"a")][..], &[Part::FromGuest(b"a"), ToGuest(10)]] {
        let (console, _keyboard, _screen) = console();
        let mut guest = FakeGuest::new(console);

        guest.offer(RX, parts);

        until("NEEDS_RESET", || guest.status() == 15 | 64);
        assert_eq!(guest.rings[RX].used_index(), 0);
    }
}

#[test]
fn a_new_driver_is_probed_again() {
    let (mut guest, _keyboard, _screen) = probed("fake0", 0);

    guest.start();
    let heads = open(&mut guest, &[&[ToGuest(10)]]);

    assert_eq!(guest.wait_used(RX).len, 5);
    assert_eq!(guest.bytes(RX, heads[0])[..5], *b"hello");
}
