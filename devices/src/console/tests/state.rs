//! A console that is saved, and continued by another one.

use super::*;
use crate::testing::ring::Part::FromGuest;
use crate::testing::ring::Used;
use crate::testing::threads::until_asleep;

/// What the old console has printed is not printed again, and the rest is printed once.
#[test]
fn a_request_that_is_half_printed_is_printed_once() {
    let (first, _keyboard, mut screen) = console();
    let mut guest = FakeGuest::new(first);
    let all: Vec<u8> = (0..300_000_u32).map(|n| (n % 251).to_le_bytes()[0]).collect();
    let head = guest.offer(TX, &[FromGuest(&all)]);
    let (mut printed, mut bytes) = (Vec::<u8>::new(), [0; 2000]);
    let mut keep = Vec::new();

    while printed.len() < all.len() {
        let length = screen.read(&mut bytes).unwrap();
        printed.extend(&bytes[..length]);
        let state = guest.save();
        let (next, keyboard, its_screen) = console();
        let restored = guest.restored(&state, next).unwrap();
        // Without its output, the old console lets the pipe end.
        drop(std::mem::replace(&mut guest, restored));
        std::mem::replace(&mut screen, its_screen).read_to_end(&mut printed).unwrap();
        keep.push(keyboard);
        assert_eq!(guest.device.state().unwrap(), state);
        guest.resume();
    }

    // A pipe has room for 64 KiB.
    assert!(keep.len() > 1 && printed == all, "{} times", keep.len());
    assert_eq!(guest.wait_used(TX), Used { id: head.into(), len: 0 });
    guest.offer(TX, &[FromGuest(b"next")]);
    assert_eq!(screen.read(&mut bytes).unwrap(), 4);
}

/// A forged state: more was printed than the request has.
#[test]
fn a_request_cannot_be_printed_further_than_its_end() {
    let (first, _keyboard, _screen) = console();
    let mut guest = FakeGuest::new(first);
    let state = serde_json::to_value(guest.save()).unwrap();
    for printed in [5, u32::MAX] {
        let mut forged = state.clone();
        *forged.pointer_mut("/queues/1/service/printed").unwrap() = printed.into();
        let state = serde_json::from_value(forged).unwrap();
        let (next, _keyboard, mut screen) = console();
        let mut restored = guest.restored(&state, next).unwrap();
        restored.resume();
        for text in [b"hell", b"next"] {
            restored.offer(TX, &[FromGuest(text)]);
            assert_eq!(restored.wait_used(TX).len, 0);
        }
        let mut bytes = [0; 10];
        assert_eq!(screen.read(&mut bytes).unwrap(), 4);
        assert_eq!(bytes[..4], *b"next");
        assert!(restored.machine.failures().is_empty());
    }
}

/// Before there is a buffer to probe with, while the driver has it, and afterwards.
#[test]
fn the_driver_is_probed_once() {
    let (first, keyboard, _screen) = console();
    let mut guest = FakeGuest::named("sprobe0", first);
    let mut keyboards = vec![keyboard];
    let again = |guest: &mut FakeGuest| {
        until_asleep("sprobe0-rx");
        let state = guest.save();
        let (next, keyboard, _) = console();
        *guest = guest.restored(&state, next).unwrap();
        assert_eq!(guest.device.state().unwrap(), state);
        guest.resume();
        keyboard
    };
    keyboards.push(again(&mut guest));
    let probe = guest.offer(RX, &[ToGuest(10)]);
    assert_eq!(guest.wait_used(RX), Used { id: probe.into(), len: 0 });
    keyboards.push(again(&mut guest));
    // The driver would take an interrupt for input, and answer before its port is open.
    assert!(!guest.machine.delivered(1), "interrupted while it is probed");
    guest.wait_config_interrupt(); // As for every device that is restored.
    let heads: Vec<_> = (0..63).map(|_| guest.rings[RX].offer(&[ToGuest(10)])).collect();
    guest.rings[RX].publish(probe);
    guest.notify(RX);
    guest.wait_config_interrupt();

    for (head, text) in heads.into_iter().zip([b"hello", b"again"]) {
        let mut keyboard = again(&mut guest);
        assert!(guest.machine.delivered(1), "it has been probed");
        keyboard.write_all(text).unwrap();
        assert_eq!(guest.wait_used(RX), Used { id: head.into(), len: 5 });
        keyboards.push(keyboard);
    }
}

/// The interrupt that the driver did not answer may have been under way.
#[test]
fn a_driver_that_did_not_answer_is_interrupted_but_not_waited_for_again() {
    let (first, _keyboard, _screen) = console();
    let mut guest = FakeGuest::new(first);
    let heads = [1, 2].map(|_| guest.rings[RX].offer(&[ToGuest(10)]));
    guest.notify(RX);
    assert_eq!(guest.wait_used(RX), Used { id: heads[0].into(), len: 0 });
    guest.wait_interrupt(0);

    let state = guest.save();
    let (next, mut keyboard, _screen) = console();
    let mut restored = guest.restored(&state, next).unwrap();
    restored.resume();

    assert!(restored.machine.delivered(1));
    restored.rings[RX].set_used_event(100); // No interrupt for input.
    keyboard.write_all(b"hello").unwrap();
    // If the device waited for an answer again, the input would wait for an interrupt.
    assert_eq!(restored.wait_used(RX), Used { id: heads[1].into(), len: 5 });
    assert!(!restored.machine.delivered(1), "interrupted twice");
}

/// Every restored device sends the interrupt of the configuration, but only a window that has
/// changed sets ISR status.
#[test]
fn a_window_of_another_size_is_announced() {
    for (rows, changes) in [(24, 0), (25, 2)] {
        let (first, _keyboard, _screen) = console();
        first.size.set(80, 24);
        let mut guest = FakeGuest::new(first);
        config(&mut guest);
        let state = guest.save();
        let (next, _keyboard, _screen) = console();
        next.size.set(80, rows);

        let mut restored = guest.restored(&state, next).unwrap();
        restored.resume();

        restored.wait_config_interrupt();
        assert_eq!(restored.isr(), changes);
        assert_eq!(config(&mut restored)[..4], [80, 0, rows.to_le_bytes()[0], 0]);
    }
}
