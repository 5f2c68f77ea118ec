//! What the host does to a disk.

use super::*;
use crate::testing::log;

#[test]
fn a_read_only_disk_is_never_written() {
    let file = file(8);
    for without in [0, 1 << 5] {
        let mut guest = FakeGuest::found(disk(image(&file).read_only()));
        guest.without = without;
        guest.start();

        assert_eq!(give(&mut guest, OUT, 0, &[1; 512]), IO_ERROR);
        assert_eq!(give(&mut guest, DISCARD, 0, &extent(0, 8, 0)), IO_ERROR);
        assert_eq!(give(&mut guest, WRITE_ZEROES, 0, &extent(0, 8, 0)), IO_ERROR);
        assert_eq!(give(&mut guest, FLUSH, 0, b""), OK);
        assert_eq!(read(&mut guest, 0, 4096).data, contents(0..8));
    }
    assert!(read_all(&file) == contents(0..8));
}

#[test]
fn a_full_disk_is_logged_once_and_the_disk_still_works() {
    let full = File::options().read(true).write(true).open("/dev/full").unwrap();
    let mut guest = guest(Image::new(full, "full.img", 1 << 20).unwrap());

    for _ in 0..3 {
        assert_eq!(give(&mut guest, OUT, 0, &[1; 512]), IO_ERROR);
    }

    assert_eq!(read(&mut guest, 0, 512).status, OK);
    assert!(guest.machine.failures().is_empty());
    assert_eq!(log::lines("full.img: writing: No space left").len(), 1);
}

#[test]
fn reads_behind_the_end_of_a_truncated_file_fail() {
    let file = file(64);
    let mut guest = guest(image(&file));
    file.set_len(512 * 20 + 100).unwrap();

    assert_eq!(read(&mut guest, 19, 512).status, OK);
    for (sector, length) in [(20, 512), (19, 1024), (30, 512), (0, 32768)] {
        let answer = read(&mut guest, sector, length);
        assert_eq!(answer.status, IO_ERROR);
        assert!(answer.used < length);
    }
    assert_eq!(read(&mut guest, 0, 512).status, OK);
}

#[test]
fn writes_never_make_a_truncated_file_longer_than_it_was() {
    let file = file(64);
    let mut guest = guest(image(&file));
    file.set_len(512).unwrap();

    assert_eq!(give(&mut guest, DISCARD, 0, &extent(32, 32, 0)), OK);
    assert_eq!(give(&mut guest, WRITE_ZEROES, 0, &extent(32, 32, 0)), OK);
    assert_eq!(give(&mut guest, OUT, 63, &[1; 512]), OK);
    assert_eq!(give(&mut guest, OUT, 64, &[1; 512]), IO_ERROR);

    assert_eq!(file.metadata().unwrap().len(), 64 * 512);
}

/// The capacity is what it was at the start, and does not follow the file.
#[test]
fn a_file_that_grows_makes_the_disk_no_larger() {
    let file = file(8);
    let mut guest = guest(image(&file));
    file.set_len(16 * 512).unwrap();

    assert_eq!(read(&mut guest, 8, 512).status, IO_ERROR);
    assert_eq!(give(&mut guest, OUT, 8, &[1; 512]), IO_ERROR);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_to_the_guest() {
    let directory = File::open("/").unwrap();
    let mut guest = guest(Image::new(directory, "/", 1 << 20).unwrap());

    assert_eq!(read(&mut guest, 0, 512).status, IO_ERROR);
    assert!(guest.machine.failures().is_empty());
}

/// A request of 4 GiB minus a little, out of a few MiB of RAM: the reset does
/// not wait for the end of it.
#[test]
fn a_reset_comes_between_the_pieces_of_a_large_request() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(8 << 30).unwrap();
    let mut guest = guest(image(&file));
    // On a busy machine the request may be over before the reset: then once more.
    crate::testing::machine::until("a reset before its end", || {
        guest.start();
        begin_large_read(&mut guest);
        guest.reset();
        guest.rings[0].used_index() == 0
    });

    guest.start();
    assert_eq!(read(&mut guest, 0, 512).status, OK);
}

/// Much of it is still to come when this returns.
fn begin_large_read(guest: &mut FakeGuest) {
    let first = guest.rings[0].buffer(FromGuest(&header(IN, 0)));
    let room = guest.rings[0].buffer(ToGuest(1 << 20));
    let room = crate::testing::ring::Desc { addr: 0x40_0000, len: 12 << 20, ..room };
    let status = guest.rings[0].buffer(ToGuest(1));
    let mut chain = vec![room; 250];
    chain.insert(0, first);
    chain.push(status);
    guest.rings[0].offer_chain(&chain);
    guest.notify(0);
    crate::testing::machine::until("some of it", || {
        let mut byte = [0];
        guest.rings[0].read(0x40_0000, &mut byte);
        guest.rings[0].write(0x40_0000, &[1]);
        byte == [0]
    });
}
