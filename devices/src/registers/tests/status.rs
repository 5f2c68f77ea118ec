//! The status byte (virtio 1.2, 2.1.1, 3.1.1).

use crate::status::{DRIVER_OK, FAILED, NEEDS_RESET};
use crate::testing::FakeGuest;
use crate::testing::device::echo;
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::threads::{no_threads, threads};

/// A device at `status`, ready for the next step.
fn at(status: u8) -> FakeGuest {
    let mut guest = FakeGuest::found(echo());
    match status {
        0..=3 => {
            for step in (1..=status).filter(|step| step & status == *step && *step != 2) {
                guest.set_status(step);
            }
            let wanted = guest.offered();
            guest.accept(wanted);
        }
        11 => guest.set_up(),
        _ => guest.start(),
    }
    assert_eq!(guest.status(), status);
    guest
}

#[test]
fn status_bits_are_set_one_after_the_other() {
    let mut guest = FakeGuest::found(echo());

    for step in [1, 3] {
        guest.set_status(step);
        assert_eq!(guest.status(), step);
    }
    let offered = guest.offered();
    guest.accept(offered);
    for step in [11, 15] {
        guest.set_status(step);
        assert_eq!(guest.status(), step);
    }
}

/// Where the driver is, what it writes, and what it reads then.
#[test]
fn a_status_bit_out_of_order_changes_nothing() {
    let skipped = [(0, 2), (0, 4), (0, 8), (0, 5), (1, 5), (1, 9), (3, 7), (1, 13), (0, 10)];
    let cleared = [(3, 1), (3, 2), (11, 3), (11, 1), (15, 11), (15, 7), (15, 3), (15, 1), (15, 14)];
    let unknown = [(0, 16), (0, 17), (1, 19), (3, 27), (11, 31), (15, 31), (15, 47), (15, 0x7f)];

    for (before, value) in [&skipped[..], &cleared, &unknown].concat() {
        let mut guest = at(before);
        guest.set_status(value);
        assert_eq!(guest.status(), before, "{before} then {value}");
    }
}

#[test]
fn features_ok_as_the_first_write_is_refused() {
    let mut guest = at(0);

    guest.set_status(15);

    assert_eq!(guest.status() & (8 | DRIVER_OK), 0);
}

#[test]
fn writing_the_same_again_changes_nothing() {
    for status in [1, 3, 11, 15] {
        let mut guest = at(status);
        guest.set_status(status);
        assert_eq!(guest.status(), status);
    }
}

#[test]
fn zero_resets_from_everywhere() {
    for status in [0, 1, 3, 11, 15] {
        let mut guest = at(status);
        guest.set_status(0);
        assert_eq!(guest.status(), 0);
        guest.start();
        assert_eq!(guest.status(), 15);
    }
}

#[test]
fn failed_may_be_set_at_any_time_and_ends_everything_but_a_reset() {
    for status in [1, 3, 11, 15] {
        let mut guest = at(status);
        guest.set_status(status | FAILED);
        assert_eq!(guest.status(), status | FAILED);
        guest.set_status(15);
        guest.set_status(status);
        assert_eq!(guest.status(), status | FAILED);
        guest.set_status(0);
        assert_eq!(guest.status(), 0);
    }
}

#[test]
fn all_bits_mean_failed() {
    let mut guest = at(11);

    guest.set_status(0xff);

    assert_eq!(guest.status(), 11 | FAILED);
}

/// S2, S16: no request is served, and no interrupt comes.
#[test]
fn a_failed_device_is_silent() {
    let mut guest = FakeGuest::named("failed0", echo());

    guest.set_status(15 | FAILED);
    no_threads("failed0");
    guest.offer(0, &[FromGuest(b"a")]);
    guest.device.status().config_changed();

    assert_eq!(guest.rings[0].used_index(), 0);
    assert!(!guest.machine.delivered(0) && !guest.machine.delivered(1));
}

/// S3: the threads that run are not started again.
#[test]
fn driver_ok_twice_is_driver_ok_once() {
    let mut guest = FakeGuest::named("twice0", echo());

    guest.set_status(15);
    for queue in [0, 1] {
        guest.offer(queue, &[FromGuest(b"a"), ToGuest(1)]);
        assert_eq!(guest.wait_used(queue).len, 1);
    }

    assert_eq!(threads("twice0"), ["twice0-one", "twice0-two"]);
}

/// S18: Linux writes back what it read, and more.
#[test]
fn the_driver_cannot_set_needs_reset() {
    let mut guest = at(11);

    guest.set_status(NEEDS_RESET);
    assert_eq!(guest.status(), 11);
    guest.set_status(15 | NEEDS_RESET);
    assert_eq!(guest.status(), 15);

    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    assert_eq!(guest.wait_used(0).len, 1);
}

#[test]
fn the_driver_cannot_clear_needs_reset() {
    let mut guest = at(15);
    guest.rings[0].set_avail_index(0x8000);
    guest.notify(0);
    guest.wait_config_interrupt();

    guest.set_status(15);

    assert_eq!(guest.status(), 15 | NEEDS_RESET);
}

/// S7: the driver learns of a broken device from the status alone, too.
#[test]
fn failed_after_needs_reset_is_both() {
    let mut guest = at(15);
    guest.rings[0].set_avail_index(0x8000);
    guest.notify(0);
    guest.wait_config_interrupt();

    guest.set_status(15 | FAILED | NEEDS_RESET);

    assert_eq!(guest.status(), 15 | NEEDS_RESET | FAILED);
    guest.set_status(0);
    assert_eq!(guest.status(), 0);
}
