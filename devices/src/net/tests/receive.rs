//! net0-rx.

use std::net::Shutdown;
use std::os::fd::AsFd;

use super::*;
use crate::net::LARGEST;
use crate::testing::threads::{times_slept, until_asleep};

/// Give the driver's buffers of this length to the device.
fn offer(guest: &mut FakeGuest, lengths: &[u32]) -> Vec<u16> {
    let heads = lengths.iter().map(|length| guest.rings[RX].offer(&[ToGuest(*length)])).collect();
    guest.notify(RX);
    heads
}

/// Offers more room than a test needs.
fn plenty(guest: &mut FakeGuest) -> Vec<u16> {
    offer(guest, &[1536; 50])
}

/// What came in these buffers, as lengths and bytes.
fn take(guest: &mut FakeGuest, heads: &[u16]) -> (Vec<u32>, Vec<u8>) {
    let used: Vec<_> = heads.iter().map(|_| guest.wait_used(RX)).collect();
    let ids: Vec<_> = heads.iter().map(|head| u32::from(*head)).collect();
    assert_eq!(used.iter().map(|used| used.id).collect::<Vec<_>>(), ids);
    let part = |(used, head): (&Used, &u16)| {
        guest.bytes(RX, *head)[..usize::try_from(used.len).unwrap()].to_vec()
    };
    let bytes = used.iter().zip(heads).flat_map(part).collect();
    (used.iter().map(|used| used.len).collect(), bytes)
}

#[test]
fn a_frame_takes_the_buffers_that_it_needs() {
    let (mut guest, wire) = guest();
    let heads = plenty(&mut guest);

    for length in [60, 1536, 1537, 3 * 1536, 40] {
        wire.send(&frame(length)).unwrap();
    }

    assert_eq!(take(&mut guest, &heads[..1]), (vec![60], received(60, 1)));
    guest.wait_interrupt(0);
    assert_eq!(take(&mut guest, &heads[1..2]), (vec![1536], received(1536, 1)));
    assert_eq!(take(&mut guest, &heads[2..4]), (vec![1536, 1], received(1537, 2)));
    assert_eq!(take(&mut guest, &heads[4..7]), (vec![1536; 3], received(4608, 3)));
    assert_eq!(take(&mut guest, &heads[7..8]), (vec![40], received(40, 1)));
    assert_eq!(guest.rings[RX].take_used(), None);
}

/// Frames that arrived before DRIVER_OK were for an earlier driver (5.1.6.4). They are
/// dropped from all pairs, because the host spreads frames over the pairs of that driver.
#[test]
fn frames_from_before_the_driver_are_lost() {
    let (net, host) = card(2);
    let mut guest = FakeGuest::found(net);
    for life in 0..3 {
        for wire in &host.wires {
            for length in [60, 1500, 30_000] {
                wire.send(&frame(length)).unwrap();
            }
        }

        guest.start();

        for (pair, wire) in host.wires.iter().enumerate() {
            let queue = 2 * pair;
            let head = guest.rings[queue].offer(&[ToGuest(LARGEST)]);
            guest.notify(queue);
            wire.send(&frame(99)).unwrap();
            let used = Used { id: head.into(), len: 99 };
            assert_eq!(guest.wait_used(queue), used, "life {life}, pair {pair}");
        }
    }
}

#[test]
fn the_largest_frame_and_a_header_cut_into_bytes() {
    let (mut guest, wire) = guest();
    let bytes: Vec<_> = [1; 30].into_iter().chain([4096; 17]).collect();
    let heads = offer(&mut guest, &bytes);

    wire.send(&frame(65_566)).unwrap();

    let (lengths, bytes) = take(&mut guest, &heads[..46]);
    assert_eq!(lengths.len(), 46);
    assert!(bytes == received(65_566, 46));
}

/// Linux gives a frame up whose second buffer is not there when it sees the first.
#[test]
fn no_driver_ever_sees_a_part_of_a_frame() {
    let (mut guest, wire) = guest();
    plenty(&mut guest);
    for round in 0..500 {
        wire.send(&frame(1500 + 700 * (round % 10))).unwrap();
        let ring = &mut guest.rings[RX];
        until("a frame", || ring.used_index() != ring.used_seen);
        let there = ring.used_index().wrapping_sub(ring.used_seen);
        let head = u16::try_from(ring.take_used().unwrap().id).unwrap();
        let first = ring.bytes(head);
        let buffers = u16::from_le_bytes([first[10], first[11]]);
        assert!(buffers >= 1 && buffers <= there, "{buffers} of {there}");
        ring.publish(head);
        for _ in 1..buffers {
            let used = ring.take_used().unwrap();
            ring.publish(u16::try_from(used.id).unwrap());
        }
        guest.notify(RX);
    }
}

#[test]
fn flags_are_cleared_for_a_driver_that_does_not_know_them() {
    let (net, host) = card(1);
    let mut guest = FakeGuest::found(net);
    guest.without = 1 << 1;
    guest.start();
    let heads = plenty(&mut guest);

    host.wires[0].send(&frame(60)).unwrap();

    let (_, bytes) = take(&mut guest, &heads[..1]);
    assert_eq!(bytes[..12], *b"\x00234567890\x01\x00");
}

#[test]
fn without_mergeable_buffers_each_takes_one_frame() {
    let (net, host) = card(1);
    let mut guest = FakeGuest::found(net);
    guest.without = MRG_RXBUF;
    guest.start();
    let heads = offer(&mut guest, &[100, 100, 100]);

    for length in [60, 101, 100, 2000, 70] {
        host.wires[0].send(&frame(length)).unwrap();
    }

    assert_eq!(take(&mut guest, &heads[..1]), (vec![60], received(60, 1)));
    assert_eq!(take(&mut guest, &heads[1..2]), (vec![100], received(100, 1)));
    assert_eq!(take(&mut guest, &heads[2..]), (vec![70], received(70, 1)));
}

#[test]
fn frames_that_do_not_fit_into_little_room_are_lost() {
    let (mut guest, wire) = guest();
    let heads = offer(&mut guest, &[50, 50]);

    for length in [101, 5000, 100, 60] {
        wire.send(&frame(length)).unwrap();
    }

    assert_eq!(take(&mut guest, &heads), (vec![50, 50], received(100, 2)));
    // The last one waits for room.
    let heads = offer(&mut guest, &[1000]);
    assert_eq!(take(&mut guest, &heads), (vec![60], received(60, 1)));
    assert_eq!(guest.machine.errors("fake0-rx"), 2);
}

#[test]
fn room_that_is_offered_while_the_thread_waits_is_used() {
    let (net, host) = card(1);
    let mut guest = FakeGuest::named("more0", net);
    let mut heads = offer(&mut guest, &[50]);
    until_asleep("more0-rx");
    until("a wish for more room", || guest.rings[RX].avail_event() == 1);

    heads.extend(offer(&mut guest, &[50]));
    until("a wish for more room", || guest.rings[RX].avail_event() == 2);
    host.wires[0].send(&frame(80)).unwrap();

    assert_eq!(take(&mut guest, &heads), (vec![50, 30], received(80, 2)));
}

/// Attack N-e: frames without room cost no CPU time.
#[test]
fn without_any_room_the_thread_sleeps_through_a_flood() {
    let (net, host) = card(1);
    let mut guest = FakeGuest::named("flood0", net);
    let wire = &host.wires[0];
    wire.set_nonblocking(true).unwrap();
    until_asleep("flood0-rx");
    let before = times_slept("flood0-rx");
    while wire.send(&frame(1000)).is_ok() {}

    until_asleep("flood0-rx");
    assert_eq!(times_slept("flood0-rx"), before, "a frame woke the thread up");
    assert_eq!(guest.rings[RX].used_index(), 0);
    let heads = plenty(&mut guest);

    assert_eq!(take(&mut guest, &heads[..1]).0, [1000]);
}

/// N-d: the driver's own fault; nothing else comes of it.
#[test]
fn buffers_without_room_go_back_empty() {
    let (mut guest, wire) = guest();

    let heads = offer(&mut guest, &[0, 0]);
    assert_eq!(take(&mut guest, &heads), (vec![0, 0], vec![]));
    let heads = offer(&mut guest, &[0, 100]);
    wire.send(&frame(60)).unwrap();

    assert_eq!(take(&mut guest, &heads), (vec![0, 60], received(60, 2)));
}

/// R11.
#[test]
fn a_buffer_that_is_not_writable_needs_a_reset() {
    let (mut guest, wire) = guest();
    offer(&mut guest, &[1536; 3]);
    guest.offer(RX, &[FromGuest(b"public")]);

    wire.send(&frame(60)).unwrap();

    until("NEEDS_RESET", || guest.status() == 15 | 64);
    assert_eq!(guest.rings[RX].used_index(), 0);
}

#[test]
fn an_indirect_chain_is_one_buffer() {
    let (net, host) = card(1);
    let mut guest = FakeGuest::found(net);
    guest.without = INDIRECT_DESC;
    guest.start();
    let head = guest.offer(RX, &[ToGuest(20), ToGuest(30)]);

    host.wires[0].send(&frame(45)).unwrap();

    assert_eq!(guest.wait_used(RX), Used { id: head.into(), len: 45 });
    assert_eq!(guest.bytes(RX, head)[..45], received(45, 1));
}

/// Neither for a frame, nor for room.
#[test]
fn a_reset_does_not_wait_for_a_frame() {
    for (name, room) in [("still0", &[1536; 50][..]), ("still1", &[50]), ("still2", &[])] {
        let (net, host) = card(1);
        let mut guest = FakeGuest::named(name, net);
        offer(&mut guest, room);
        until_asleep(&format!("{name}-rx"));

        guest.reset();

        // And what comes then is for the next driver.
        guest.start();
        host.wires[0].send(&frame(60)).unwrap();
        let heads = plenty(&mut guest);
        assert_eq!(take(&mut guest, &heads[..1]).0, [60]);
    }
}

#[test]
fn an_interface_that_is_gone_costs_no_cpu_time_and_ends_nothing() {
    let (net, host) = card(1);
    let tap = UnixDatagram::from(net.pairs[0].as_fd().try_clone_to_owned().unwrap());
    let mut guest = FakeGuest::named("gone0", net);
    plenty(&mut guest);
    until_asleep("gone0-rx");

    tap.shutdown(Shutdown::Both).unwrap();
    host.link.came_back();
    guest.offer(TX, &[FromGuest(&frame(60))]);
    guest.wait_used(TX);

    until_asleep("gone0-rx");
    let before = times_slept("gone0-rx");
    // What takes its time, and has nothing to do with it.
    for _ in 0..100 {
        guest.offer(TX, &[FromGuest(&frame(60))]);
        guest.wait_used(TX);
    }
    until_asleep("gone0-rx");
    assert_eq!(times_slept("gone0-rx"), before, "it has woken up");
    assert_eq!((guest.status(), guest.machine.failures()), (15, vec![]));
    guest.reset();
}
