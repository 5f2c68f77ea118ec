//! Whatever descriptors a driver cuts a request into, it is the same request
//! (2.7.4.1).

use super::*;
use crate::testing::ring::Desc;

/// Bytes in descriptors of one byte each.
fn single(guest: &mut FakeGuest, bytes: &[u8]) -> Vec<Desc> {
    bytes.iter().map(|byte| guest.rings[0].buffer(FromGuest(&[*byte]))).collect()
}

fn offer(guest: &mut FakeGuest, chain: &[Desc]) -> Answer {
    let head = guest.rings[0].offer_chain(chain);
    finish(guest, head)
}

#[test]
fn the_header_may_come_in_sixteen_pieces() {
    let file = file(4);
    let mut guest = guest(image(&file));

    let mut chain = single(&mut guest, &header(IN, 2));
    chain.push(guest.rings[0].buffer(ToGuest(512)));
    chain.push(guest.rings[0].buffer(ToGuest(1)));

    assert_eq!(offer(&mut guest, &chain), Answer { status: OK, data: contents(2..3), used: 513 });
}

#[test]
fn the_header_may_share_a_buffer_with_data() {
    let file = file(4);
    let mut guest = guest(image(&file));

    let together = [&header(OUT, 1)[..], &[b'a'; 100]].concat();
    let parts = [FromGuest(&together), FromGuest(&[b'b'; 412]), ToGuest(1)];

    assert_eq!(ask(&mut guest, &parts).status, OK);
    let wanted = [contents(0..1), vec![b'a'; 100], vec![b'b'; 412], contents(2..4)].concat();
    assert!(read_all(&file) == wanted);
}

#[test]
fn the_status_may_share_a_buffer_with_data() {
    let file = file(4);
    let mut guest = guest(image(&file));

    let parts = [FromGuest(&header(IN, 0)), ToGuest(511), ToGuest(514)];

    assert_eq!(ask(&mut guest, &parts), Answer { status: OK, data: contents(0..2), used: 1025 });
}

#[test]
fn data_may_come_in_127_pieces() {
    let file = file(127);
    let mut guest = guest(image(&file));
    let bytes: Vec<u8> = (0..127 * 512_u32).map(|n| n.to_le_bytes()[(n % 4) as usize]).collect();

    let head = header(OUT, 0);
    let mut parts = vec![FromGuest(&head)];
    parts.extend(bytes.chunks(512).map(FromGuest));
    parts.push(ToGuest(1));
    assert_eq!(ask(&mut guest, &parts).status, OK);
    assert!(read_all(&file) == bytes);

    let head = header(IN, 0);
    let mut parts = vec![FromGuest(&head)];
    parts.extend([ToGuest(512); 127]);
    parts.push(ToGuest(1));
    assert!(ask(&mut guest, &parts).data == bytes);
}

#[test]
fn empty_descriptors_may_come_in_between_and_after_the_status() {
    let file = file(4);
    let mut guest = guest(image(&file));
    let header = header(IN, 3);

    let parts = [
        FromGuest(b""),
        FromGuest(&header[..7]),
        FromGuest(b""),
        FromGuest(&header[7..]),
        ToGuest(0),
        ToGuest(512),
        ToGuest(0),
        ToGuest(1),
        ToGuest(0),
    ];

    assert_eq!(ask(&mut guest, &parts), Answer { status: OK, data: contents(3..4), used: 513 });
}

#[test]
fn data_may_come_in_single_bytes() {
    let file = file(2);
    let mut guest = guest(image(&file));

    let mut chain = vec![guest.rings[0].buffer(FromGuest(&header(IN, 1)))];
    chain.extend([0; 250].map(|_| guest.rings[0].buffer(ToGuest(1))));
    chain.push(guest.rings[0].buffer(ToGuest(512 - 250)));
    chain.push(guest.rings[0].buffer(ToGuest(1)));

    assert_eq!(offer(&mut guest, &chain), Answer { status: OK, data: contents(1..2), used: 513 });
}
