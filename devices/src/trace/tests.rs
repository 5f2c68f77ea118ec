//! Trace rings: every event is read, in order, or counted as lost.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;

use super::*;

const KINDS: &[EventKind] = &[EventKind::new("one", ["a", "b"]), EventKind::new("two", ["", ""])];

fn drained(ring: &TraceRing) -> Vec<Event> {
    let mut events = Vec::new();
    ring.drain(|event| events.push(event));
    events
}

#[test]
fn every_event_is_read_once() {
    let ring = TraceRing::new("ring", KINDS, 8);
    ring.begin_thread();
    let begin = TraceRing::now();
    ring.slice(0, begin, [3, 4]);
    ring.instant(1, [5, 6]);
    let [thread, slice, instant] = <[Event; 3]>::try_from(drained(&ring)).unwrap();
    assert_eq!((thread.entry, thread.numbers[0]), (TraceEntry::Thread, sys::thread_id()));
    assert_eq!((slice.entry, slice.numbers), (TraceEntry::Event(KINDS[0]), [3, 4]));
    assert!(slice.begin == begin && slice.end.unwrap() >= begin);
    assert_eq!((instant.entry, instant.end), (TraceEntry::Event(KINDS[1]), None));
    assert!(thread.begin <= slice.begin && slice.end.unwrap() <= instant.begin);
    assert_eq!(drained(&ring), []);
}

#[test]
fn events_without_room_are_counted() {
    let ring = TraceRing::new("ring", KINDS, 4);
    for number in 0..10 {
        ring.instant(0, [number, 0]);
    }
    assert_eq!(ring.lost(), 6);
    let numbers = |events: &[Event]| events.iter().map(|it| it.numbers[0]).collect::<Vec<_>>();
    assert_eq!(numbers(&drained(&ring)), [0, 1, 2, 3]);
    // With the next that finds room comes how many did not.
    ring.instant(0, [10, 0]);
    let events = drained(&ring);
    assert_eq!((events[0].entry, events[0].numbers[0], events.len()), (TraceEntry::Lost, 6, 2));
    assert_eq!((events[1].numbers[0], ring.lost()), (10, 0));
}

/// One thread writes as fast as it can, and another reads: each event is whole, and every
/// one is there or reported as lost.
#[test]
fn a_reader_beside_the_writer_misses_nothing() {
    const EVENTS: u64 = 200_000;
    let ring = Arc::new(TraceRing::new("ring", KINDS, 64));
    let (theirs, done) = (Arc::clone(&ring), Arc::new(AtomicBool::new(false)));
    let over = Arc::clone(&done);
    let write = move || {
        for number in 0..EVENTS {
            theirs.slice(0, number, [number, !number]);
        }
        over.store(true, Ordering::Release);
    };
    let writer = Builder::new().spawn(write).unwrap();
    let (mut next, mut last) = (0, false);
    while !last {
        last = done.load(Ordering::Acquire);
        ring.drain(|event| match event.entry {
            TraceEntry::Lost => next += event.numbers[0],
            _ => {
                assert_eq!((event.begin, event.numbers), (next, [next, !next]));
                next += 1;
            }
        });
    }
    writer.join().unwrap();
    assert_eq!(next + ring.lost(), EVENTS);
}
