//! net0-tx.

use super::*;

/// The next frame that comes out.
fn next(wire: &UnixDatagram) -> Vec<u8> {
    let mut bytes = vec![0; 70_000];
    let length = wire.recv(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

#[test]
fn a_frame_is_sent_as_it_lies_in_memory() {
    let (mut guest, wire) = guest();
    let frame = frame(2000);

    let parts = [FromGuest(&frame[..7]), FromGuest(&frame[7..20]), FromGuest(&frame[20..])];
    let head = guest.offer(TX, &parts);

    assert_eq!(guest.wait_used(TX), Used { id: head.into(), len: 0 });
    assert_eq!(next(&wire), frame);
}

/// N-a, N-b: lost, and the next one leaves.
#[test]
fn a_malformed_frame_is_dropped_and_the_next_is_sent() {
    let (mut guest, wire) = guest();
    let large = vec![0; 65_567];
    for nonsense in [&[][..], &[0], &[0; 11], &[0; 12], &large] {
        guest.offer(TX, &[FromGuest(nonsense)]);
        assert_eq!(guest.wait_used(TX).len, 0);
    }
    let largest = frame(65_566);

    guest.offer(TX, &[FromGuest(&largest)]);
    guest.wait_used(TX);

    assert!(next(&wire) == largest);
    assert_eq!(guest.machine.errors("fake0-tx"), 5);
}

#[test]
fn a_frame_that_the_tap_refuses_is_dropped_and_the_next_is_sent() {
    let (mut guest, wire) = guest();
    drop(wire);

    for _ in 0..3 {
        guest.offer(TX, &[FromGuest(&frame(60))]);
        guest.wait_used(TX);
    }

    assert_eq!(guest.status(), 15);
    assert_eq!(guest.machine.errors("fake0-tx"), 3);
    assert!(guest.machine.failures().is_empty());
}

#[test]
fn a_writable_buffer_needs_a_reset() {
    let (mut guest, _wire) = guest();

    guest.offer(TX, &[FromGuest(&frame(60)), ToGuest(1)]);

    until("NEEDS_RESET", || guest.status() == 15 | 64);
}
