//! con0-rx, once the guest has opened its terminal.

use super::*;
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::ring::Used;
use crate::testing::threads::until_asleep;

#[test]
fn what_is_typed_reaches_the_guest() {
    let (console, mut keyboard, _screen) = console();
    let mut guest = FakeGuest::new(console);
    let head = open(&mut guest, &[&[ToGuest(2), ToGuest(0), ToGuest(100)]])[0];

    keyboard.write_all(b"ls\n\0\xff").unwrap();

    assert_eq!(guest.wait_used(RX), Used { id: head.into(), len: 5 });
    assert_eq!(guest.bytes(RX, head)[..5], *b"ls\n\0\xff");
}

/// The guest is interrupted for each key at once, although there is more room.
#[test]
fn a_key_does_not_wait_for_the_next() {
    let (console, mut keyboard, _screen) = console();
    let mut guest = FakeGuest::new(console);
    guest.without = 1 << 29;
    guest.start();
    open(&mut guest, &[]);

    keyboard.write_all(b"a").unwrap();

    guest.wait_interrupt(0);
    assert_eq!(guest.wait_used(RX).len, 1);
}

#[test]
fn input_waits_for_room() {
    let (console, mut keyboard, _screen) = console();
    let mut guest = FakeGuest::new(console);
    keyboard.write_all(b"early").unwrap();

    let heads = open(&mut guest, &[&[ToGuest(2)], &[ToGuest(2)], &[ToGuest(2)]]);

    assert_eq!([0; 3].map(|_| guest.wait_used(RX).len), [2, 2, 1]);
    let typed: Vec<_> = heads.iter().flat_map(|head| guest.bytes(RX, *head)).collect();
    assert_eq!(typed, b"early\0");
}

#[test]
fn a_request_without_room_is_answered_and_takes_no_input() {
    let (console, mut keyboard, _screen) = console();
    let mut guest = FakeGuest::new(console);
    let heads = open(&mut guest, &[&[ToGuest(0), ToGuest(0)], &[ToGuest(1)]]);

    assert_eq!(guest.wait_used(RX).len, 0);
    keyboard.write_all(b"k").unwrap();

    assert_eq!(guest.wait_used(RX).len, 1);
    assert_eq!(guest.bytes(RX, heads[1]), b"k");
}

/// R11.
#[test]
fn a_buffer_that_is_not_writable_needs_a_reset() {
    let (console, mut keyboard, _screen) = console();
    let mut guest = FakeGuest::new(console);
    keyboard.write_all(b"secret").unwrap();

    let heads = open(&mut guest, &[&[FromGuest(b"public"), ToGuest(1)]]);

    until("NEEDS_RESET", || guest.status() == 15 | 64);
    assert_eq!(guest.bytes(RX, heads[0]), [0]);
}

#[test]
fn the_end_of_input_is_not_the_end_of_the_console() {
    let (console, keyboard, mut screen) = console();
    let mut guest = FakeGuest::new(console);
    drop(keyboard);
    open(&mut guest, &[]);

    guest.offer(TX, &[FromGuest(b"alive")]);

    let mut bytes = [0; 5];
    screen.read_exact(&mut bytes).unwrap();
    assert_eq!((&bytes, guest.rings[RX].used_index()), (b"alive", 1));
    assert!(guest.machine.failures().is_empty());
}

/// Neither before there is any, nor after its end.
#[test]
fn a_reset_does_not_wait_for_input() {
    for ends in [false, true] {
        let (console, keyboard, _screen) = console();
        let keyboard = Some(keyboard).filter(|_| !ends);
        let mut guest = FakeGuest::named("input0", console);
        open(&mut guest, &[]);
        until_asleep("input0-rx");
        guest.reset();
        drop(keyboard);
    }
}

#[test]
fn input_after_a_reset_goes_to_the_next_driver() {
    let (console, mut keyboard, _screen) = console();
    let mut guest = FakeGuest::new(console);
    open(&mut guest, &[]);
    guest.set_status(0);
    keyboard.write_all(b"for you").unwrap();
    assert_eq!(guest.rings[RX].used_index(), 1);

    guest.start();
    let heads = open(&mut guest, &[&[ToGuest(7)]]);

    assert_eq!(guest.wait_used(RX).len, 7);
    assert_eq!(guest.bytes(RX, heads[0]), b"for you");
}
