//! Requests that no good driver makes: the device refuses them, the image keeps its bytes
//! and its length, and the disk still works.

use super::*;

/// A request, and the status that it must get.
struct Row {
    what: &'static str,
    kind: u32,
    sector: u64,
    data: usize,
    room: u32,
    status: u8,
}

const fn row(what: &'static str, kind: u32, sector: u64, room: u32, status: u8) -> Row {
    Row { what, kind, sector, data: 0, room, status }
}

const fn out(what: &'static str, sector: u64, data: usize) -> Row {
    Row { what, kind: OUT, sector, data, room: 0, status: IO_ERROR }
}

#[test]
fn each_bad_request_gets_its_status() {
    const U: u8 = UNSUPPORTED;
    let rows = [
        row("read at the end", IN, 10, 512, IO_ERROR),
        row("read across the end", IN, 9, 1024, IO_ERROR),
        row("read of no sector past the end", IN, 11, 0, IO_ERROR),
        row("read of half a sector", IN, 0, 256, IO_ERROR),
        row("read of a sector and a byte", IN, 0, 513, IO_ERROR),
        row("read of a sector that overflows", IN, 1 << 55, 512, IO_ERROR),
        row("read of the last of all sectors", IN, u64::MAX, 512, IO_ERROR),
        row("read that overflows behind its start", IN, (1 << 55) - 1, 512, IO_ERROR),
        out("write at the end", 10, 512),
        out("write across the end", 9, 1024),
        out("write of half a sector", 0, 256),
        out("write of a sector and a byte", 0, 513),
        out("write of a sector that overflows", 1 << 55, 512),
        out("write of the last of all sectors", u64::MAX, 512),
        row("SCSI command", 2, 0, 512, U),
        row("SCSI command, out", 3, 0, 0, U),
        row("old flush", 5, 0, 0, U),
        row("lifetime", 10, 0, 512, U),
        row("secure erase", 14, 0, 0, U),
        row("barrier", 1 << 31, 0, 0, U),
        row("barrier and write", 1 << 31 | OUT, 0, 0, U),
        row("all ones", u32::MAX, u64::MAX, 512, U),
    ];
    let file = file(10);
    let mut guest = guest(image(&file));

    let count = rows.len() as u64;
    for Row { what, kind, sector, data, room, status } in rows {
        let (header, data) = (header(kind, sector), vec![0; data]);
        let parts = [FromGuest(&header), FromGuest(&data), ToGuest(room), ToGuest(1)];
        let answer = ask(&mut guest, &parts);
        assert_eq!(answer.status, status, "{what}");
        // The status is not at the beginning, so it does not count.
        assert_eq!(answer.used, u32::from(room == 0), "{what}");
        assert!(answer.data.iter().all(|byte| *byte == 0), "{what}");
    }

    assert!(read_all(&file) == contents(0..10));
    assert_eq!(read(&mut guest, 0, 512).status, OK);
    assert_eq!(guest.machine.errors("fake0-q0"), count);
}

#[test]
fn short_headers_are_errors() {
    let file = file(10);
    let mut guest = guest(image(&file));

    for length in [0, 1, 4, 8, 15] {
        let parts = [FromGuest(&header(IN, 0)[..length]), ToGuest(512), ToGuest(1)];
        assert_eq!(ask(&mut guest, &parts).status, IO_ERROR, "{length}");
    }
    assert_eq!(read(&mut guest, 0, 512).status, OK);
}

/// The device cannot answer the request then, so it needs a reset.
#[test]
fn without_a_status_byte_the_device_needs_a_reset() {
    let (kept, all) = (file(10), contents(0..10));
    let data = [b'x'; 512];
    let header = header(OUT, 0);
    let requests: [&[Part<'_>]; 4] = [
        &[FromGuest(&header)],
        &[FromGuest(&header), FromGuest(&data)],
        &[FromGuest(&header), FromGuest(&data), ToGuest(0)],
        &[FromGuest(b"")],
    ];
    let mut guest = guest(image(&kept));
    for request in requests {
        guest.offer(0, request);

        guest.wait_config_interrupt();
        assert_eq!(guest.status(), 15 | 64);
        assert!(guest.machine.failures().is_empty());
        assert!(read_all(&kept) == all);

        guest.start();
        assert_eq!(read(&mut guest, 0, 512).status, OK);
    }
}

/// Only one byte of room: that is the status, and there is nothing to read into.
#[test]
fn the_status_is_the_last_byte_of_room() {
    let file = file(10);
    let mut guest = guest(image(&file));

    let parts = [FromGuest(&header(IN, 0)), ToGuest(512)];
    assert_eq!(ask(&mut guest, &parts).status, IO_ERROR);
}

/// Bytes where they have no meaning are left alone.
#[test]
fn buffers_of_the_wrong_direction_are_left_alone() {
    let file = file(10);
    let mut guest = guest(image(&file));
    let (read, write) = (header(IN, 1), header(OUT, 1));

    let parts = [FromGuest(&read), FromGuest(&[7; 100]), ToGuest(512), ToGuest(1)];
    assert_eq!(ask(&mut guest, &parts).data, contents(1..2));
    let parts = [FromGuest(&write), FromGuest(&[7; 512]), ToGuest(100), ToGuest(1)];
    let answer = ask(&mut guest, &parts);

    assert_eq!(answer, Answer { status: OK, data: vec![0; 100], used: 0 });
    assert_eq!(read_all(&file)[512..1024], [7; 512]);
}

#[test]
fn the_status_is_written_once_and_alone() {
    let file = file(10);
    let mut guest = guest(image(&file));
    let first = guest.rings[0].buffer(FromGuest(&header(IN, 100)));
    let room = guest.rings[0].buffer(ToGuest(515));
    guest.rings[0].write(room.addr, &[UNTOUCHED; 520]);

    let head = guest.rings[0].offer_chain(&[first, room]);
    assert_eq!(finish(&mut guest, head).status, IO_ERROR);

    let mut bytes = [0; 520];
    guest.rings[0].read(room.addr, &mut bytes);
    assert_eq!(bytes[..514], [UNTOUCHED; 514]);
    assert_eq!(bytes[515..], [UNTOUCHED; 5]);
}
