//! FLUSH, and what a driver without it may expect. That fdatasync comes before
//! the answer is seen with strace, in tests/e2e/linux/block.

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::*;
use crate::device::Device;

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
fn without_sync_a_flush_does_not_wait_for_the_disk() {
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

/// The kernel reports lost data only once; the thread of another queue may
/// have asked.
#[test]
fn every_flush_after_a_failed_one_fails() {
    let file = file(8);
    let image = image(&file);
    image.flush_failed.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut guest = guest(image);

    assert_eq!(flush(&mut guest), IO_ERROR);
}

/// Whether the guest is interrupted for finished requests before one of this kind.
fn is_waited_for(image: Image, accepted: u64, kind: u32) -> bool {
    let memory = crate::testing::memory();
    let mut request = crate::request::Request::default();
    memory.write_slice(&header(kind, 0), GuestAddress(0x1000)).unwrap();
    let slice = memory.get_slice(GuestAddress(0x1000), 16).unwrap();
    request.from_guest.push(&slice);
    disk(image).service(0, accepted).unwrap().may_block(&request)
}

#[test]
fn only_slow_requests_may_block() {
    let file = file(8);
    for (kind, slow) in [(IN, false), (OUT, false), (GET_ID, false), (FLUSH, true), (DISCARD, true)]
    {
        assert_eq!(is_waited_for(image(&file), FLUSH_FEATURE, kind), slow, "{kind}");
        assert!(is_waited_for(image(&file).direct(512), FLUSH_FEATURE, kind));
        assert!(is_waited_for(image(&file), 0, kind));
    }
}
