//! Tests of requests of several chains.

use std::os::unix::net::UnixDatagram;

use super::*;

/// Chains with this much room each, one after the other in guest memory.
fn request<'m>(memory: &'m Memory, rooms: &[&[usize]]) -> Request<'m> {
    let (mut request, mut at) = (Request::default(), 0x1000);
    for (head, lengths) in (10..).zip(rooms) {
        request.begin_chain(head);
        for length in *lengths {
            let slice = memory.get_slice(GuestAddress(at), *length).unwrap();
            request.push(&slice, true).unwrap();
            at += u64::try_from(*length).unwrap();
        }
    }
    request
}

fn used(request: &Request<'_>) -> Vec<(u16, u32)> {
    request.used().collect()
}

#[test]
fn an_answer_goes_through_as_many_chains_as_it_needs() {
    let memory = memory();
    for (length, expected) in [
        (0, &[(10, 0)][..]),
        (1, &[(10, 1)]),
        (4, &[(10, 4)]),
        (5, &[(10, 4), (11, 1)]),
        (9, &[(10, 4), (11, 5)]),
        (10, &[(10, 4), (11, 5), (12, 1)]),
        (15, &[(10, 4), (11, 5), (12, 6)]),
    ] {
        let mut request = request(&memory, &[&[4], &[2, 3], &[6]]);
        assert_eq!(request.to_guest.put(&vec![7; length]), length);
        assert_eq!(used(&request), expected, "{length}");
        assert_eq!(usize::from(request.chains_for(request.to_guest.done())), expected.len());
    }
}

#[test]
fn chains_that_were_not_needed_stay_for_the_next_answer() {
    let memory = memory();
    let mut request = request(&memory, &[&[4], &[2, 3], &[6], &[1]]);

    request.to_guest.put(b"fives");
    request.retire();

    assert_eq!((request.chains(), request.to_guest.len(), request.to_guest.done()), (2, 7, 0));
    request.to_guest.put(b"sevens!");
    assert_eq!(used(&request), [(12, 6), (13, 1)]);
    request.retire();
    assert_eq!((request.chains(), request.to_guest.len()), (0, 0));
    assert_eq!(contents(&memory, 16), b"fives\0\0\0\0sevens!");
}

#[test]
fn chains_without_room_are_used_with_those_around_them() {
    let memory = memory();
    let mut request = request(&memory, &[&[], &[2], &[], &[2], &[]]);

    request.to_guest.put(b"abc");
    assert_eq!(used(&request), [(10, 0), (11, 2), (12, 0), (13, 1)]);
    request.retire();

    assert_eq!(used(&request), [(14, 0)]);
}

#[test]
fn bytes_ahead_can_be_overwritten_across_buffers() {
    let memory = memory();
    let request = request(&memory, &[&[3], &[1, 1], &[4]]);

    assert_eq!(request.to_guest.overwrite(2, b"abcd"), 4);
    assert_eq!(request.to_guest.overwrite(8, b"xy"), 1);
    assert_eq!(request.to_guest.overwrite(9, b"z"), 0);

    assert_eq!(contents(&memory, 10), b"\0\0abcd\0\0x\0");
    assert_eq!(request.to_guest.done(), 0);
}

#[test]
fn a_datagram_fits_or_is_lost() {
    let memory = memory();
    let (tap, host) = UnixDatagram::pair().unwrap();
    for datagram in [&b"fits!"[..], b"too long", b"short"] {
        host.send(datagram).unwrap();
    }
    let mut request = request(&memory, &[&[2], &[3]]);

    assert_eq!(request.to_guest.receive_from(tap.as_fd()).unwrap(), Some(5));
    assert_eq!(contents(&memory, 6), b"fits!\0");
    assert_eq!(request.to_guest.receive_from(tap.as_fd()).unwrap(), None);
    assert_eq!(request.to_guest.len(), 5);
    request.to_guest.consume(1);
    assert_eq!(request.to_guest.receive_from(tap.as_fd()).unwrap(), None);
    assert_eq!(contents(&memory, 6), b"tshor\0");
}

/// In more pieces than one call takes, it would be cut.
#[test]
fn a_datagram_in_too_many_pieces_is_not_sent_and_not_cut() {
    let memory = memory();
    let (tap, host) = UnixDatagram::pair().unwrap();
    let mut whole = buffers(&memory, &[1; 1023]);
    let pieces = buffers(&memory, &[1; 1024]);

    assert_eq!(whole.send_to(tap.as_fd()).unwrap(), 1023);
    assert!(pieces.send_to(tap.as_fd()).is_err());

    host.send(&[7; 1023]).unwrap();
    assert_eq!(whole.receive_from(tap.as_fd()).unwrap(), Some(1023));
    let mut pieces = pieces;
    host.send(&[7; 1024]).unwrap();
    assert_eq!(pieces.receive_from(tap.as_fd()).unwrap(), None);
    assert_eq!(pieces.len(), 1024);
    assert!(pieces.fills_a_call() && whole.fills_a_call());
}
