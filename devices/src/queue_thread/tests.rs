//! Tests of the life of queue threads: from DRIVER_OK to the reset, and what the
//! thread says if it ends before.

use std::fs;

use crate::testing::FakeGuest;
use crate::testing::device::echo;
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::ring::Used;
use crate::testing::threads::{no_threads, threads};

mod ends;
mod hangs;
mod pause;
mod stop;

#[test]
fn a_request_is_served_and_answered() {
    let mut guest = FakeGuest::new(echo());

    let head = guest.offer(0, &[FromGuest(b"dice"), ToGuest(6)]);

    assert_eq!(guest.wait_used(0), Used { id: head.into(), len: 4 });
    assert_eq!(guest.bytes(0, head), b"dice\0\0");
    guest.wait_interrupt(0);
}

#[test]
fn threads_have_the_names_of_their_queues() {
    let mut guest = FakeGuest::named("name0", echo());

    for queue in [0, 1] {
        guest.offer(queue, &[FromGuest(b"a")]);
        guest.wait_used(queue);
    }

    assert_eq!(threads("name0"), ["name0-one", "name0-two"]);
}

#[test]
fn nothing_runs_before_driver_ok() {
    let mut guest = FakeGuest::found_as("early0", echo());

    guest.set_up();

    assert_eq!(threads("early0"), [""; 0]);
}

#[test]
fn a_queue_that_was_not_enabled_gets_no_thread() {
    let mut guest = FakeGuest::found_as("half0", echo());
    guest.negotiate();
    guest.rings = vec![guest.set_up_queue(0)];
    guest.enable_queue(0);

    guest.set_status(15);
    guest.offer(0, &[FromGuest(b"a")]);
    guest.wait_used(0);

    assert_eq!(threads("half0"), ["half0-one"]);
}

#[test]
fn reset_ends_every_thread_and_driver_ok_starts_them_afresh() {
    let mut guest = FakeGuest::named("again0", echo());
    guest.offer(0, &[FromGuest(b"a")]);
    guest.wait_used(0);

    guest.set_status(0);
    no_threads("again0");
    guest.start();

    let head = guest.offer(1, &[FromGuest(b"second life"), ToGuest(11)]);
    assert_eq!(guest.wait_used(1), Used { id: head.into(), len: 11 });
    assert_eq!(guest.bytes(1, head), b"second life");
}

#[test]
fn drop_without_a_reset_ends_every_thread() {
    let guest = FakeGuest::named("drop0", echo());

    drop(guest);

    no_threads("drop0");
}

#[test]
fn requests_offered_before_driver_ok_are_served_after_it() {
    let mut guest = FakeGuest::found(echo());
    guest.set_up();
    let head = guest.offer(0, &[FromGuest(b"early"), ToGuest(5)]);
    assert_eq!(guest.rings[0].used_index(), 0);

    guest.set_status(15);

    assert_eq!(guest.wait_used(0), Used { id: head.into(), len: 5 });
}

#[test]
fn many_requests_in_flight_all_come_back() {
    let mut guest = FakeGuest::new(echo());

    for round in 0..2000_u32 {
        let head = guest.offer(1, &[FromGuest(&round.to_le_bytes()), ToGuest(4)]);
        assert_eq!(guest.wait_used(1), Used { id: head.into(), len: 4 });
        assert_eq!(guest.bytes(1, head), round.to_le_bytes());
    }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Other tests run beside this one: it looks for a leak in every tenth reset or more.
#[test]
fn ten_thousand_resets_leave_nothing_behind() {
    let mut guest = FakeGuest::named("storm0", echo());
    let files = open_files();

    for _ in 0..10_000 {
        guest.set_status(0);
        guest.start();
    }
    guest.set_status(0);

    no_threads("storm0");
    assert!(open_files() < files + 1000);
}
