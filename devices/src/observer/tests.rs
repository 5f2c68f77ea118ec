//! Exact counts and traces of real queue threads, with a driver made by hand.

use std::sync::Arc;

use super::EVENT_KINDS;
use crate::error::{GuestError, ServeError};
use crate::stats::QueueStats;
use crate::testing::FakeGuest;
use crate::testing::device::{FakeDevice, answer, echo};
use crate::testing::machine::until;
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::trace::{Event, TraceEntry, TraceRing};

const NO_INTERRUPT_FLAG: u16 = 1;

const ROUNDS: u16 = 300;

fn stats(guest: &FakeGuest, queue: &str) -> Vec<(&'static str, u64)> {
    guest.machine.observer_of(queue).stats.fields().to_vec()
}

fn count(guest: &FakeGuest, queue: &str, field: fn(&QueueStats) -> u64) -> u64 {
    field(&guest.machine.observer_of(queue).stats)
}

/// Makes requests one at a time, so that each has its kick and its interrupt.
fn ask(guest: &mut FakeGuest, rounds: u16) {
    for _ in 0..rounds {
        guest.offer(0, &[FromGuest(b"seven b"), ToGuest(10)]);
        guest.wait_used(0);
        guest.wait_interrupt(0);
        guest.rings[0].set_used_event(guest.rings[0].used_seen);
    }
}

#[test]
fn each_request_is_counted_with_its_bytes() {
    let mut guest = FakeGuest::new(echo());
    ask(&mut guest, ROUNDS);
    let (rounds, kicks) = (ROUNDS.into(), count(&guest, "fake0-one", |it| it.kicks.get()));
    assert_eq!(
        stats(&guest, "fake0-one"),
        [
            ("kicks", kicks),
            ("requests", rounds),
            ("from_guest", 7 * rounds),
            ("to_guest", 7 * rounds),
            ("interrupts", rounds),
            ("suppressed", 0),
            ("errors", 0),
        ]
    );
    // A doorbell that rings while the thread is awake is read when it next sleeps.
    assert!(kicks > 0 && kicks <= rounds, "{kicks}");
    assert!(stats(&guest, "fake0-two").iter().all(|(_, count)| *count == 0));
}

/// Whether by a used_event that is far away, or by a flag.
#[test]
fn an_interrupt_that_is_not_sent_is_counted_as_suppressed() {
    for without in [0, 1 << 29] {
        let device = echo();
        let mut guest = FakeGuest::found(device);
        guest.without = without;
        guest.start();
        guest.rings[0].set_used_event(0x8000);
        guest.rings[0].set_avail_flags(NO_INTERRUPT_FLAG);
        for round in 1..=50 {
            guest.offer(0, &[FromGuest(b"x"), ToGuest(1)]);
            guest.wait_used(0);
            until("it is counted", || {
                count(&guest, "fake0-one", |it| it.suppressed.get()) == round
            });
        }
        assert_eq!(count(&guest, "fake0-one", |it| it.interrupts.get()), 0);
        assert!(!guest.machine.delivered(1));
    }
}

#[test]
fn counts_outlive_a_reset_and_a_pause() {
    let mut guest = FakeGuest::new(echo());
    ask(&mut guest, 3);
    guest.start();
    ask(&mut guest, 4);
    guest.pause();
    assert_eq!(count(&guest, "fake0-one", |it| it.requests.get()), 7);
    guest.resume();
    ask(&mut guest, 5);
    assert_eq!(count(&guest, "fake0-one", |it| it.requests.get()), 12);
    assert_eq!(count(&guest, "fake0-one", |it| it.interrupts.get()), 12);
}

/// What the service could not do, and what the driver must not.
#[test]
fn errors_are_counted() {
    let device = FakeDevice::new(|_, request| {
        if request.from_guest.len() == 1 {
            request.count_error();
        } else if request.from_guest.len() == 2 {
            return Err(ServeError::Guest(GuestError::Direction("as told")));
        }
        answer(request);
        Ok(())
    });
    let mut guest = FakeGuest::new(device);
    for bytes in [b"x".as_slice(), b"xyz", b"x"] {
        guest.offer(0, &[FromGuest(bytes), ToGuest(4)]);
        guest.wait_used(0);
    }
    assert_eq!(count(&guest, "fake0-one", |it| it.errors.get()), 2);
    guest.offer(0, &[FromGuest(b"xy"), ToGuest(4)]);
    guest.wait_config_interrupt();
    assert_eq!(count(&guest, "fake0-one", |it| it.errors.get()), 3);
    assert_eq!(count(&guest, "fake0-one", |it| it.requests.get()), 3, "it was not answered");
}

/// A request that the driver sees as used has been counted already: the test need not wait.
#[test]
fn a_request_is_counted_before_the_driver_sees_it_used() {
    let mut guest = FakeGuest::new(echo());
    for round in 1..=u64::from(ROUNDS) {
        guest.offer(0, &[FromGuest(b"x"), ToGuest(1)]);
        guest.wait_used(0);
        assert_eq!(count(&guest, "fake0-one", |it| it.requests.get()), round);
    }
}

fn named(events: &[Event]) -> Vec<&'static str> {
    let name = |event: &Event| match event.entry {
        TraceEntry::Thread => "thread",
        TraceEntry::Lost => "lost",
        TraceEntry::Event(kind) => kind.name,
    };
    events.iter().map(name).collect()
}

#[test]
fn a_trace_has_the_events_of_a_request_in_order() {
    let ring = Arc::new(TraceRing::new("fake0-one", EVENT_KINDS, 1024));
    let mut guest = FakeGuest::found_with(echo(), Arc::clone(&ring));
    guest.start();
    ask(&mut guest, 1);
    guest.set_status(0);
    let mut events = Vec::new();
    ring.drain(|event| events.push(event));
    // In the order in which they ended. The thread may find the request before it has slept at all.
    let mut names = named(&events);
    names.retain(|name| *name != "kick");
    assert_eq!(names, ["thread", "serve", "request", "interrupt"]);
    let [_, serve, request, interrupt] = {
        let slices = events.iter().filter(|event| named(&[**event]) != ["kick"]);
        <[Event; 4]>::try_from(slices.copied().collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(request.numbers, [7, 7]);
    let end = |event: Event| event.end.unwrap();
    assert!(request.begin <= serve.begin && serve.begin <= end(serve));
    assert!(end(serve) <= end(request) && end(request) <= interrupt.begin);
    assert!(interrupt.begin <= end(interrupt));
}
