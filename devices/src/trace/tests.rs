//! Lanes: what is written comes out, in order, or is counted as lost.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;

use super::*;

const WORDS_OF_TEST: &[Word] = &[Word::new("one", ["a", "b"]), Word::new("two", ["", ""])];

fn drained(lane: &Lane) -> Vec<Event> {
    let mut events = Vec::new();
    lane.drain(|event| events.push(event));
    events
}

#[test]
fn what_is_written_comes_out_once() {
    let lane = Lane::new("lane", WORDS_OF_TEST, 8);
    lane.begin_thread();
    let begin = Lane::now();
    lane.slice(0, begin, [3, 4]);
    lane.instant(1, [5, 6]);
    let [thread, slice, instant] = <[Event; 3]>::try_from(drained(&lane)).unwrap();
    assert_eq!((thread.what, thread.numbers[0]), (What::Thread, sys::thread_id()));
    assert_eq!((slice.what, slice.numbers), (What::Word(WORDS_OF_TEST[0]), [3, 4]));
    assert!(slice.begin == begin && slice.end.unwrap() >= begin);
    assert_eq!((instant.what, instant.end), (What::Word(WORDS_OF_TEST[1]), None));
    assert!(thread.begin <= slice.begin && slice.end.unwrap() <= instant.begin);
    assert_eq!(drained(&lane), []);
}

#[test]
fn what_finds_no_room_is_counted() {
    let lane = Lane::new("lane", WORDS_OF_TEST, 4);
    for number in 0..10 {
        lane.instant(0, [number, 0]);
    }
    assert_eq!(lane.lost(), 6);
    let numbers = |events: &[Event]| events.iter().map(|it| it.numbers[0]).collect::<Vec<_>>();
    assert_eq!(numbers(&drained(&lane)), [0, 1, 2, 3]);
    // With the next that finds room comes how many did not.
    lane.instant(0, [10, 0]);
    let events = drained(&lane);
    assert_eq!((events[0].what, events[0].numbers[0], events.len()), (What::Lost, 6, 2));
    assert_eq!((events[1].numbers[0], lane.lost()), (10, 0));
}

/// One thread writes as fast as it can, another reads: each event is whole, and every
/// one is there or reported as lost.
#[test]
fn a_reader_beside_the_writer_misses_nothing() {
    const EVENTS: u64 = 200_000;
    let lane = Arc::new(Lane::new("lane", WORDS_OF_TEST, 64));
    let (theirs, done) = (Arc::clone(&lane), Arc::new(AtomicBool::new(false)));
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
        lane.drain(|event| match event.what {
            What::Lost => next += event.numbers[0],
            _ => {
                assert_eq!((event.begin, event.numbers), (next, [next, !next]));
                next += 1;
            }
        });
    }
    writer.join().unwrap();
    assert_eq!(next + lane.lost(), EVENTS);
}
