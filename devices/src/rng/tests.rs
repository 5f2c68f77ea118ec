//! Tests of the entropy device over real files and pipes.

use std::fs::File;
use std::io::{PipeWriter, Write, pipe};
use std::os::fd::OwnedFd;
use std::time::Instant;

use super::{LIMIT, Rng};
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::ring::{Desc, Used, WRITE};
use crate::testing::threads::until_asleep;
use crate::testing::{FakeGuest, RAM_END, log, machine};

fn urandom() -> Rng {
    Rng::new(File::open("/dev/urandom").unwrap())
}

/// A slow source, in the hands of the test.
fn slow() -> (Rng, PipeWriter) {
    let (source, writer) = pipe().unwrap();
    (Rng::new(File::from(OwnedFd::from(source))), writer)
}

#[test]
fn the_device_has_one_queue_and_no_features() {
    let mut guest = FakeGuest::new(urandom());

    assert_eq!(guest.rings.len(), 1);
    assert_eq!(guest.offered() & 0xff_ffff, 0);
}

#[test]
fn every_request_is_filled_with_new_bytes() {
    let mut guest = FakeGuest::new(urandom());

    let first = guest.offer(0, &[ToGuest(32), ToGuest(32)]);
    assert_eq!(guest.wait_used(0), Used { id: first.into(), len: 64 });
    let second = guest.offer(0, &[ToGuest(64)]);
    assert_eq!(guest.wait_used(0), Used { id: second.into(), len: 64 });

    let (first, second) = (guest.bytes(0, first), guest.bytes(0, second));
    assert!(first != second && first[..32] != first[32..]);
    assert!(second[..32] != [0; 32] && second[32..] != [0; 32]);
}

/// RNG0004, top 40 number 29: 64 times all of RAM.
#[test]
fn no_request_is_served_for_longer_than_its_limit() {
    let mut guest = FakeGuest::new(urandom());
    let all =
        Desc { len: u32::try_from(RAM_END).unwrap() - 0x40_0000, flags: WRITE, ..Desc::default() };
    let all = Desc { addr: 0x40_0000, ..all };

    let begin = Instant::now();
    guest.rings[0].offer_chain(&[all; 64]);
    guest.notify(0);

    assert_eq!(guest.wait_used(0).len, LIMIT);
    assert!(begin.elapsed() < machine::PATIENCE / 10);
    let mut past = [0; 64];
    guest.rings[0].read(0x40_0000 + u64::from(LIMIT), &mut past);
    assert_eq!(past, [0; 64]);
}

#[test]
fn a_request_without_room_is_answered() {
    let mut guest = FakeGuest::new(urandom());

    let head = guest.offer(0, &[ToGuest(0)]);

    assert_eq!(guest.wait_used(0), Used { id: head.into(), len: 0 });
}

#[test]
fn bytes_from_the_guest_need_a_reset() {
    let mut guest = FakeGuest::new(urandom());

    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);

    guest.wait_config_interrupt();
    assert_eq!(guest.status(), 15 | 64);
}

#[test]
fn bytes_of_a_slow_source_are_passed_on_at_once() {
    let (rng, mut writer) = slow();
    let mut guest = FakeGuest::new(rng);

    let first = guest.offer(0, &[ToGuest(64)]);
    guest.offer(0, &[ToGuest(64)]);
    writer.write_all(b"dice").unwrap();

    // The second waits for more, and the first is not held back for it.
    assert_eq!(guest.wait_used(0), Used { id: first.into(), len: 4 });
    guest.wait_interrupt(0);
    assert_eq!(&guest.bytes(0, first)[..6], b"dice\0\0");
}

#[test]
fn a_silent_source_does_not_hold_up_a_reset() {
    let (rng, mut writer) = slow();
    let mut guest = FakeGuest::named("rng1", rng);
    guest.offer(0, &[ToGuest(64)]);
    until_asleep("rng1-req");

    guest.reset();

    guest.start();
    let head = guest.offer(0, &[ToGuest(64)]);
    writer.write_all(b"after").unwrap();
    assert_eq!(guest.wait_used(0), Used { id: head.into(), len: 5 });
}

/// An empty answer is not allowed (5.4.6.2), and a driver would ask again at once.
#[test]
fn a_source_that_ends_or_fails_is_logged_once_and_answers_stop() {
    let (ended, _) = slow();
    let failing = Rng::new(File::open("/").unwrap());
    for (name, source, why) in
        [("rng2", ended, "numbers: it has ended"), ("rng3", failing, "numbers: Is a directory")]
    {
        let mut guest = FakeGuest::named(name, source);
        guest.offer(0, &[ToGuest(64)]);
        machine::until("a word of it", || log::lines(why).len() == 1);
        until_asleep(&format!("{name}-req"));

        assert!(guest.rings[0].take_used().is_none());
        assert!(guest.machine.failures().is_empty());
        assert_eq!(guest.machine.errors(&format!("{name}-req")), 1);
        guest.set_status(0);
        assert_eq!(guest.status(), 0);
        assert_eq!(log::lines(why).len(), 1);
    }
}

/// Each life of the device finds the source as it is; the log need not hear of it each time.
#[test]
fn a_guest_that_resets_the_device_does_not_fill_the_log() {
    let why = "numbers: Bad file descriptor";
    let source = File::options().write(true).open("/dev/null").unwrap();
    let mut guest = FakeGuest::named("rng4", Rng::new(source));
    for life in 1..=10 {
        guest.start();
        guest.offer(0, &[ToGuest(64)]);
        machine::until("it has failed", || guest.machine.errors("rng4-req") == life);
        guest.set_status(0);
    }
    assert!((1..10).contains(&log::lines(why).len()), "{:?}", log::lines(why));
}

/// The request waits in the ring, and another source may have bytes.
#[test]
fn a_restored_device_reads_its_source_again() {
    let failing = Rng::new(File::open("/proc/self/mem").unwrap()); // EIO at address 0.
    let mut guest = FakeGuest::named("srng0", failing);
    let head = guest.offer(0, &[ToGuest(16)]);
    machine::until("the end of the source", || guest.machine.errors("srng0-req") == 1);

    let state = guest.save();
    let mut restored = guest.restored(&state, urandom()).unwrap();
    assert_eq!(restored.device.state().unwrap(), state);
    restored.resume();

    assert_eq!(restored.wait_used(0), Used { id: head.into(), len: 16 });
    assert_eq!(guest.rings[0].used_index(), 0);
}
