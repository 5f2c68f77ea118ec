//! A console that is paused: what its threads were about is known to those after them.

use super::*;
use crate::testing::ring::Part::FromGuest;
use crate::testing::ring::Used;
use crate::testing::threads::until_asleep;

/// The output is read so slowly that each pause comes in the middle of a request.
#[test]
fn a_request_that_is_half_printed_is_printed_once() {
    let (console, _keyboard, mut screen) = console();
    let mut guest = FakeGuest::new(console);
    let all: Vec<u8> = (0..300_000_u32).map(|n| (n % 251).to_le_bytes()[0]).collect();
    let head = guest.offer(TX, &[FromGuest(&all)]);
    let (mut printed, mut bytes) = (Vec::<u8>::new(), [0; 2000]);

    while printed.len() < all.len() {
        let length = screen.read(&mut bytes).unwrap();
        printed.extend(&bytes[..length]);
        guest.pause();
        guest.resume();
    }

    assert!(printed == all);
    assert_eq!(guest.wait_used(TX), Used { id: head.into(), len: 0 });
    guest.offer(TX, &[FromGuest(b"next")]);
    assert_eq!(screen.read(&mut bytes).unwrap(), 4);
}

/// Before there is a buffer to probe with, while the driver has it, and afterwards.
#[test]
fn the_driver_is_probed_once() {
    let (console, mut keyboard, _screen) = console();
    let mut guest = FakeGuest::named("probe0", console);
    let again = |guest: &mut FakeGuest| {
        until_asleep("probe0-rx");
        guest.pause();
        guest.resume();
    };
    again(&mut guest);
    let probe = guest.offer(RX, &[ToGuest(10)]);
    assert_eq!(guest.wait_used(RX), Used { id: probe.into(), len: 0 });
    again(&mut guest);
    let heads: Vec<_> = (0..63).map(|_| guest.rings[RX].offer(&[ToGuest(10)])).collect();
    guest.rings[RX].publish(probe);
    guest.notify(RX);
    guest.wait_config_interrupt();
    again(&mut guest);

    for (head, text) in heads.into_iter().zip([b"hello", b"again"]) {
        keyboard.write_all(text).unwrap();
        assert_eq!(guest.wait_used(RX), Used { id: head.into(), len: 5 });
        again(&mut guest);
    }
    assert!(!guest.machine.delivered(0), "opened twice");
}

/// A driver that waits for an interrupt, and does not fill its ring.
#[test]
fn a_driver_that_did_not_answer_is_not_waited_for_again() {
    let (console, mut keyboard, _screen) = console();
    let mut guest = FakeGuest::new(console);
    let heads = [1, 2].map(|_| guest.rings[RX].offer(&[ToGuest(10)]));
    guest.notify(RX);
    assert_eq!(guest.wait_used(RX), Used { id: heads[0].into(), len: 0 });
    guest.wait_interrupt(0);
    // The driver is not interrupted for input, so only the end of a second wait for its answer would
    // interrupt it.
    guest.rings[RX].set_used_event(100);
    guest.pause();
    guest.resume();

    keyboard.write_all(b"hello").unwrap();

    // If the device waited for an answer again, the input would wait for an interrupt.
    assert_eq!(guest.wait_used(RX), Used { id: heads[1].into(), len: 5 });
    assert!(!guest.machine.delivered(1), "interrupted twice");
}
