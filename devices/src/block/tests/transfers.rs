//! Reading, writing, the serial number.

use super::*;

#[test]
fn sectors_are_read_where_they_are() {
    let file = file(100);
    let mut guest = guest(image(&file));

    for (sector, count) in [(0, 1), (99, 1), (3, 8), (0, 100)] {
        let answer = read(&mut guest, sector, 512 * u32::try_from(count).unwrap());
        let used = 512 * u32::try_from(count).unwrap() + 1;
        let data = contents(sector..sector + count);
        assert_eq!(answer, Answer { status: OK, data, used });
    }
}

#[test]
fn sectors_are_written_where_they_belong_and_nowhere_else() {
    let file = file(10);
    let mut guest = guest(image(&file));

    assert_eq!(give(&mut guest, OUT, 4, &[b'x'; 1024]), OK);
    assert_eq!(give(&mut guest, OUT, 9, &[b'y'; 512]), OK);

    let wanted = [contents(0..4), vec![b'x'; 1024], contents(6..9), vec![b'y'; 512]].concat();
    assert!(read_all(&file) == wanted);
}

#[test]
fn a_request_without_data_succeeds() {
    let file = file(2);
    let mut guest = guest(image(&file));

    assert_eq!(read(&mut guest, 1, 0), Answer { status: OK, data: vec![], used: 1 });
    assert_eq!(give(&mut guest, OUT, 2, b""), OK);
    assert!(read_all(&file) == contents(0..2));
}

/// More than one call of the host moves.
#[test]
fn a_very_large_request_is_done_in_pieces() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(64 << 20).unwrap();
    let mut guest = guest(image(&file));
    let part = vec![b'z'; 1 << 20];
    let one = guest.rings[0].buffer(FromGuest(&part));
    let first = guest.rings[0].buffer(FromGuest(&header(OUT, 1)));
    let status = guest.rings[0].buffer(ToGuest(1));

    let mut chain = vec![one; 22];
    chain.insert(0, first);
    chain.push(status);
    let head = guest.rings[0].offer_chain(&chain);

    assert_eq!(finish(&mut guest, head).status, OK);
    let bytes = read_all(&file);
    assert!(bytes[..512] == [0; 512] && bytes[512..][..22 << 20].iter().all(|b| *b == b'z'));
    assert!(bytes[512 + (22 << 20)..].iter().all(|b| *b == 0));
}

#[test]
fn a_sparse_file_stays_sparse() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(64 << 20).unwrap();
    let mut guest = guest(image(&file));

    assert_eq!(read(&mut guest, 0, 1 << 20).status, OK);
    assert_eq!(give(&mut guest, OUT, 2048, &[1; 4096]), OK);

    assert!(allocated(&file) <= 128 << 10, "{} bytes", allocated(&file));
    assert_eq!(file.metadata().unwrap().len(), 64 << 20);
}

#[test]
fn the_serial_number_is_padded_and_never_overruns() {
    let file = file(1);
    let mut guest = guest(image(&file));

    let whole = [&b"no. 1"[..], &[0; 15]].concat();
    for (room, used) in [(20, 21), (3, 4), (0, 1), (64, 20)] {
        let answer = ask(&mut guest, &[FromGuest(&header(GET_ID, 0)), ToGuest(room), ToGuest(1)]);
        let mut data = whole.clone();
        data.resize(room.try_into().unwrap(), 0);
        assert_eq!(answer, Answer { status: OK, data, used });
    }
}

#[test]
fn a_long_serial_number_is_cut() {
    let file = file(1);
    let serial = "0123456789abcdefghijKLM".to_string();
    let mut guest = FakeGuest::new(Block { serial, ..disk(image(&file)) });

    let answer = ask(&mut guest, &[FromGuest(&header(GET_ID, 0)), ToGuest(20), ToGuest(1)]);

    assert_eq!(answer.data, b"0123456789abcdefghij");
}

#[test]
fn requests_that_came_together_are_answered_together() {
    let file = file(8);
    let mut guest = guest(image(&file));
    let heads: Vec<_> = (0..8)
        .map(|sector| {
            let header = header(IN, sector);
            guest.rings[0].offer(&[FromGuest(&header), ToGuest(512), ToGuest(1)])
        })
        .collect();

    // Wanted for the last of them.
    guest.rings[0].set_used_event(7);
    guest.notify(0);

    guest.wait_interrupt(0);
    for head in heads {
        assert_eq!(guest.wait_used(0).id, u32::from(head));
    }
}
