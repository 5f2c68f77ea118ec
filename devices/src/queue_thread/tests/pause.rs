//! A device is paused and resumed: nothing is lost, and nothing is done twice.

use std::fs::File;
use std::io::{PipeWriter, Write, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::device::Device;
use crate::status::NEEDS_RESET;
use crate::testing::FakeGuest;
use crate::testing::device::{FakeDevice, answer, echo};
use crate::testing::machine::{FakeMachine, until};
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::ring::{Ring, Used};
use crate::testing::threads::{no_threads, threads, until_asleep};

const PAUSES: usize = 1000;

/// Queue "one" reads what is written to the other end; "two" echoes.
fn reader() -> (impl Device, PipeWriter) {
    let (input, other_end) = pipe().unwrap();
    let input = File::from(OwnedFd::from(input));
    let device = FakeDevice::waiting(move |queue, request| match queue {
        0 => Ok(request.to_guest.read_from(input.as_fd()).map(drop)?),
        _ => {
            answer(request);
            Ok(())
        }
    });
    (device, other_end)
}

#[test]
fn a_resumed_device_continues_where_it_was() {
    let mut guest = FakeGuest::named("stand0", echo());
    let before = guest.offer(0, &[FromGuest(b"before"), ToGuest(6)]);
    assert_eq!(guest.wait_used(0), Used { id: before.into(), len: 6 });

    guest.pause();
    no_threads("stand0");
    let meanwhile = guest.offer(0, &[FromGuest(b"meanwhile"), ToGuest(9)]);
    guest.pause(); // Twice is harmless,
    assert_eq!(guest.rings[0].used_index(), 1);
    guest.resume();
    guest.resume(); // and so is this.

    assert_eq!(guest.wait_used(0), Used { id: meanwhile.into(), len: 9 });
    let after = guest.offer(0, &[FromGuest(b"after"), ToGuest(5)]);
    assert_eq!(guest.wait_used(0), Used { id: after.into(), len: 5 });
    // A thread names itself, so it may have the test's name at first.
    until("both threads", || threads("stand0") == ["stand0-one", "stand0-two"]);
}

#[test]
fn a_paused_device_touches_no_memory_and_raises_no_interrupt() {
    let (device, mut input) = reader();
    let mut guest = FakeGuest::named("mute0", device);
    guest.offer(0, &[ToGuest(4)]);
    until_asleep("mute0-one");
    until_asleep("mute0-two");
    guest.pause();
    let echoed = guest.offer(1, &[FromGuest(b"echo"), ToGuest(4)]);
    let before = guest.everything();

    input.write_all(b"late").unwrap();
    guest.device.status().config_changed();
    // No thread is left that could.
    no_threads("mute0");

    assert!(guest.everything() == before, "it has written to memory");
    assert!((0..3).all(|line| !guest.machine.delivered(line)), "it has raised an interrupt");
    guest.resume();
    assert_eq!(guest.wait_used(0).len, 4);
    assert_eq!(guest.wait_used(1), Used { id: echoed.into(), len: 4 });
    guest.wait_interrupt(0);
    guest.wait_interrupt(1);
    guest.wait_config_interrupt();
}

/// Requests with numbers, eight at a time, until it is `enough`; how many. Sleeps
/// until it is interrupted, so that an interrupt that is lost would be missed.
fn drive(ring: &mut Ring, ring_bell: &dyn Fn(), machine: &FakeMachine, enough: &AtomicBool) -> u32 {
    let mut next = 0_u32;
    while !enough.load(Ordering::Acquire) {
        let batch: Vec<_> = (next..next + 8).collect();
        ring.set_used_event(ring.avail_index.wrapping_add(7));
        let offer = |number: &u32| ring.offer(&[FromGuest(&number.to_le_bytes()), ToGuest(4)]);
        let heads: Vec<_> = batch.iter().map(offer).collect();
        ring_bell();
        while ring.used_index() != ring.avail_index {
            machine.wait_interrupt(1);
        }
        for (head, number) in heads.into_iter().zip(batch) {
            assert_eq!(ring.take_used(), Some(Used { id: head.into(), len: 4 }));
            assert_eq!(ring.bytes(head), number.to_le_bytes());
        }
        next += 8;
    }
    next
}

#[test]
fn a_thousand_pauses_lose_no_request_and_serve_none_twice() {
    let served = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&served);
    let mut guest = FakeGuest::new(FakeDevice::new(move |_, request| {
        let mut number = [0; 4];
        request.from_guest.peek(&mut number);
        log.lock().unwrap().push(u32::from_le_bytes(number));
        answer(request);
        Ok(())
    }));
    let enough = Arc::new(AtomicBool::new(false));
    let (mut ring, machine) = (guest.rings[0].clone(), Arc::clone(&guest.machine));
    let (done, (_, bell)) = (Arc::clone(&enough), guest.device.doorbells().swap_remove(0));
    let driver = move || drive(&mut ring, &|| bell.write(1).unwrap(), &machine, &done);
    let driver = std::thread::Builder::new().spawn(driver).unwrap();

    for _ in 0..PAUSES {
        let before = guest.rings[0].used_index();
        until("a request is served", || guest.rings[0].used_index() != before);
        guest.pause();
        let still = guest.rings[0].used_index();
        std::thread::yield_now();
        assert_eq!(guest.rings[0].used_index(), still);
        guest.resume();
    }

    enough.store(true, Ordering::Release);
    let count = driver.join().unwrap();
    assert!(*served.lock().unwrap() == (0..count).collect::<Vec<_>>());
}

#[test]
fn a_thousand_pauses_lose_no_input_and_double_none() {
    let (device, mut input) = reader();
    let mut guest = FakeGuest::new(device);
    for _ in 0..32 {
        guest.offer(0, &[ToGuest(4)]);
    }
    let (mut sent, mut came) = (0_u32, 0_u32);

    for _ in 0..PAUSES {
        for paused in [false, true] {
            if paused {
                guest.pause();
            }
            for _ in 0..3 {
                input.write_all(&sent.to_le_bytes()).unwrap();
                sent += 1;
            }
        }
        guest.resume();
        while let Some(used) = guest.rings[0].take_used() {
            assert_eq!(guest.bytes(0, u16::try_from(used.id).unwrap()), came.to_le_bytes());
            came += 1;
            guest.offer(0, &[ToGuest(4)]);
        }
    }

    while came < sent {
        let used = guest.wait_used(0);
        assert_eq!(guest.bytes(0, u16::try_from(used.id).unwrap()), came.to_le_bytes());
        came += 1;
        guest.offer(0, &[ToGuest(4)]);
    }
    assert_eq!(guest.rings[0].take_used(), None);
}

#[test]
fn a_paused_device_can_be_reset_and_starts_afresh() {
    let mut guest = FakeGuest::named("anew0", echo());
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    guest.wait_used(0);
    guest.pause();

    guest.reset();
    guest.resume();
    assert_eq!(threads("anew0"), [""; 0]);

    guest.start();
    let head = guest.offer(0, &[FromGuest(b"b"), ToGuest(1)]);
    assert_eq!(guest.wait_used(0), Used { id: head.into(), len: 1 });
}

#[test]
fn a_broken_queue_is_still_broken_after_a_pause() {
    let mut guest = FakeGuest::named("crack0", echo());
    guest.rings[0].set_avail_index(0x8000);
    guest.notify(0);
    guest.wait_config_interrupt();
    no_threads("crack0-one");

    guest.pause();
    guest.resume();

    guest.rings[0].set_avail_index(0);
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    guest.offer(1, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(guest.wait_used(1).len, 1);
    assert_eq!(guest.rings[0].used_index(), 0);
    assert_eq!(guest.status(), 15 | NEEDS_RESET);
}
