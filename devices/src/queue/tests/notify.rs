//! Notifications and interrupts, and when they are suppressed (virtio 1.2, 2.7.7, 2.7.10).

use super::*;
use crate::queue::wakeups::passed;
use crate::testing::FakeGuest;
use crate::testing::device::echo;

/// Offer, serve and signal `count` requests one by one; which of them interrupted.
fn interrupting(fixture: &mut Fixture, count: usize) -> Vec<usize> {
    let mut one = || {
        fixture.ring.offer(&[ToGuest(1)]);
        fixture.serve(b"a");
        fixture.signal();
        fixture.interrupted()
    };
    (0..count).filter(|_| one()).collect()
}

#[test]
fn every_used_entry_interrupts_by_default() {
    let mut fixture = Fixture::new(8, RING_FEATURES & !EVENT_IDX);

    assert_eq!(interrupting(&mut fixture, 3), [0, 1, 2]);
}

#[test]
fn no_interrupt_suppresses_interrupts() {
    let mut fixture = Fixture::new(8, RING_FEATURES & !EVENT_IDX);

    fixture.ring.set_avail_flags(1);
    assert_eq!(interrupting(&mut fixture, 3), [0; 0]);

    fixture.ring.set_avail_flags(0);
    assert_eq!(interrupting(&mut fixture, 1), [0]);
}

#[test]
fn other_avail_flags_mean_nothing() {
    let mut fixture = Fixture::new(8, RING_FEATURES & !EVENT_IDX);

    fixture.ring.set_avail_flags(0xfffe);

    assert_eq!(interrupting(&mut fixture, 2), [0, 1]);
}

#[test]
fn with_event_idx_only_the_entry_asked_for_interrupts() {
    let mut fixture = Fixture::new(8, RING_FEATURES).at(65534);

    fixture.ring.set_used_event(1);

    assert_eq!(interrupting(&mut fixture, 10), [3]);
}

#[test]
fn with_event_idx_the_flag_means_nothing() {
    let mut fixture = Fixture::new(8, RING_FEATURES);

    fixture.ring.set_avail_flags(1);

    assert_eq!(interrupting(&mut fixture, 2), [0]);
}

#[test]
fn garbage_in_used_event_costs_the_guest_only_its_interrupt() {
    let mut fixture = Fixture::new(8, RING_FEATURES);

    fixture.ring.set_used_event(0xdead);

    assert_eq!(interrupting(&mut fixture, 5), [0; 0]);
}

#[test]
fn one_interrupt_covers_all_entries_since_the_last() {
    let mut fixture = Fixture::new(8, RING_FEATURES).at(65533);
    fixture.ring.set_used_event(65535);
    for _ in 0..6 {
        fixture.ring.offer(&[ToGuest(1)]);
        fixture.serve(b"a");
    }

    fixture.signal();

    assert_eq!(fixture.interrupt.read().unwrap(), 1);
    fixture.signal();
    assert!(!fixture.interrupted());
}

#[test]
fn without_used_entries_no_interrupt_comes() {
    let mut fixture = Fixture::new(8, RING_FEATURES & !EVENT_IDX);

    fixture.signal();
    assert!(fixture.sleeps());

    assert!(!fixture.interrupted());
}

#[test]
fn the_device_interrupts_before_it_sleeps() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    fixture.ring.offer(&[ToGuest(1)]);
    fixture.serve(b"a");
    assert!(!fixture.interrupted());

    assert!(fixture.sleeps());

    assert!(fixture.interrupted());
}

/// Else the used index could go round while a driver that polls keeps the ring
/// from running dry, and an interrupt that it asked for last would be lost.
#[test]
fn a_device_that_never_sleeps_interrupts_once_a_round() {
    let mut fixture = Fixture::new(8, RING_FEATURES).at(65530);
    fixture.ring.set_used_event(65533);

    for _ in 0..8 {
        assert!(!fixture.interrupted());
        fixture.ring.offer(&[ToGuest(1)]);
        fixture.serve(b"a");
    }

    assert!(fixture.interrupted());
}

#[test]
fn notifications_are_suppressed_while_the_device_is_awake() {
    let mut fixture = Fixture::new(8, RING_FEATURES & !EVENT_IDX);

    assert!(fixture.sleeps());
    assert_eq!(fixture.ring.used_flags(), 0);

    fixture.queue.refuse_notification(&fixture.memory).unwrap();
    assert_eq!(fixture.ring.used_flags(), 1);

    assert!(fixture.sleeps());
    assert_eq!(fixture.ring.used_flags(), 0);
}

#[test]
fn with_event_idx_the_device_asks_for_the_next_request() {
    let mut fixture = Fixture::new(8, RING_FEATURES).at(65535);
    fixture.ring.offer(&[ToGuest(1)]);
    fixture.serve(b"a");

    assert!(fixture.sleeps());

    assert_eq!((fixture.ring.avail_event(), fixture.ring.used_flags()), (0, 0));
}

/// R23: the driver looked just before the device asked, and did not notify.
#[test]
fn a_request_that_comes_while_falling_asleep_is_seen() {
    for features in [RING_FEATURES, RING_FEATURES & !EVENT_IDX] {
        let mut fixture = Fixture::new(8, features);
        assert_eq!(fixture.pop(), Ok(None));
        fixture.ring.offer(&[ToGuest(1)]);
        assert!(fixture.queue.ask_for_notification(&fixture.memory).unwrap());
        assert!(!fixture.sleeps());
    }
}

#[test]
fn after_a_doorbell_without_a_request_the_device_sleeps_again() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    fixture.doorbell.write(3).unwrap();

    assert!(fixture.sleeps());

    assert!(fixture.doorbell.read().is_err());
}

/// A driver that notifies only when it is asked to, and then sleeps until it is
/// interrupted: one wake-up lost by either side, and this never ends.
#[test]
fn no_wake_up_is_lost_between_thread_and_driver() {
    for without in [0, EVENT_IDX] {
        let mut guest = FakeGuest::found(echo());
        guest.without = without;
        guest.start();
        for _ in 0..1500 {
            frugal_round(&mut guest, without == 0);
        }
    }
}

fn frugal_round(guest: &mut FakeGuest, event_idx: bool) {
    let fence = || std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    let ring = &mut guest.rings[0];
    let seen = ring.used_seen;
    ring.set_used_event(seen);
    ring.offer(&[FromGuest(b"a"), ToGuest(1)]);
    fence();
    let (old, new) = (ring.avail_index.wrapping_sub(1), ring.avail_index);
    let asked =
        if event_idx { passed(ring.avail_event(), new, old) } else { ring.used_flags() & 1 == 0 };
    if asked {
        guest.notify(0);
    }
    guest.wait_interrupt(0);
    assert_eq!(guest.rings[0].take_used().unwrap().len, 1);
}
