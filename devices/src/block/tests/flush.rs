//! FLUSH, and what a driver without it may expect. That fdatasync comes before
//! the answer is seen with strace, in tests/e2e/linux/block.

use super::*;

/// A file that takes everything and that fdatasync(2) fails on.
fn unsyncable() -> Image {
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    Image::new(null, "unsyncable", 1 << 20).unwrap()
}

fn flush(guest: &mut FakeGuest) -> u8 {
    give(guest, FLUSH, 0, b"")
}

#[test]
fn a_flush_succeeds_when_the_data_are_stable() {
    let file = file(8);
    let mut guest = guest(image(&file));

    assert_eq!(give(&mut guest, OUT, 0, &[1; 512]), OK);
    assert_eq!(flush(&mut guest), OK);
}

/// 5.2.6.1: sector is 0, but a device does not care.
#[test]
fn a_flush_with_a_sector_and_data_is_a_flush() {
    let file = file(8);
    let mut guest = guest(image(&file));

    assert_eq!(give(&mut guest, FLUSH, u64::MAX, &[1; 100]), OK);
}

#[test]
fn a_flush_that_fails_is_an_error_to_the_guest() {
    let mut guest = guest(unsyncable());

    assert_eq!(give(&mut guest, OUT, 0, &[1; 512]), OK);
    assert_eq!(flush(&mut guest), IO_ERROR);
    assert_eq!(give(&mut guest, OUT, 0, &[1; 512]), OK);
}

#[test]
fn without_sync_nobody_waits_for_the_disk() {
    let mut guest = guest(unsyncable().without_sync());

    assert_eq!(flush(&mut guest), OK);
}

#[test]
fn a_driver_that_cannot_flush_gets_stable_writes() {
    let mut guest = FakeGuest::found(disk(unsyncable()));
    guest.without = FLUSH_FEATURE;
    guest.start();

    assert_eq!(give(&mut guest, OUT, 0, &[1; 512]), IO_ERROR);
    assert_eq!(give(&mut guest, WRITE_ZEROES, 0, &extent(0, 8, 0)), IO_ERROR);
}

#[test]
fn a_driver_that_cannot_flush_gets_its_writes_done() {
    let file = file(8);
    let mut guest = FakeGuest::found(disk(image(&file)));
    guest.without = FLUSH_FEATURE;
    guest.start();

    assert_eq!(give(&mut guest, OUT, 0, &[1; 512]), OK);
    assert_eq!(give(&mut guest, DISCARD, 0, &extent(1, 1, 0)), OK);
    assert_eq!(read_all(&file)[..512], [1; 512]);
}

/// The kernel tells of lost data only once; the thread of another queue may
/// have asked.
#[test]
fn after_a_failed_flush_none_succeeds() {
    let file = file(8);
    let image = image(&file);
    image.lost.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut guest = guest(image);

    assert_eq!(flush(&mut guest), IO_ERROR);
}

/// A flush may take its time; what was finished before is not held back.
#[test]
fn what_came_before_a_flush_is_told_before_it() {
    let file = file(8);
    let mut guest = guest(image(&file));
    let (read, flush) = (header(IN, 0), header(FLUSH, 0));
    guest.rings[0].offer(&[FromGuest(&read), ToGuest(512), ToGuest(1)]);
    guest.rings[0].offer(&[FromGuest(&flush), ToGuest(1)]);

    // The driver wants to hear of the first only, and never asks again.
    guest.rings[0].set_used_event(0);
    guest.notify(0);

    guest.wait_used(0);
    guest.wait_used(0);
    guest.wait_interrupt(0);
}
