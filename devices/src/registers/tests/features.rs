//! Feature negotiation (virtio 1.2, 2.2, 3.1.1).

use super::*;

const VERSION_1: u64 = 1 << 32;
const OFFERED: u64 = RING_FEATURES | FEATURE;

/// The driver may choose its features now.
fn choosing() -> FakeGuest {
    let mut guest = FakeGuest::found(echo());
    guest.set_status(1);
    guest.set_status(3);
    guest
}

#[test]
fn the_driver_may_take_all_or_less_as_long_as_it_takes_version_1() {
    for features in [OFFERED, VERSION_1, VERSION_1 | FEATURE, OFFERED & !FEATURE] {
        let mut guest = choosing();
        guest.accept(features);
        guest.set_status(11);
        assert_eq!((guest.status(), guest.accepted()), (11, features), "{features:#x}");
    }
}

#[test]
fn without_version_1_features_ok_is_refused() {
    for features in [0, FEATURE, OFFERED & !VERSION_1] {
        let mut guest = choosing();
        guest.accept(features);
        guest.set_status(11);
        assert_eq!(guest.status(), 3, "{features:#x}");
    }
}

#[test]
fn a_feature_that_was_not_offered_cannot_be_accepted() {
    for bit in (0..64).filter(|bit| OFFERED >> bit & 1 == 0) {
        let mut guest = choosing();
        guest.accept(OFFERED | 1 << bit);
        guest.set_status(11);
        assert_eq!(guest.status(), 3, "bit {bit}");
    }
}

#[test]
fn all_64_bits_are_refused_and_a_second_choice_is_taken() {
    let mut guest = choosing();
    guest.accept(!0);
    guest.set_status(11);
    assert_eq!(guest.status(), 3);

    guest.accept(OFFERED);
    guest.set_status(11);

    assert_eq!(guest.status(), 11);
}

#[test]
fn refused_features_start_nothing() {
    let mut guest = choosing();
    guest.accept(!0);

    guest.set_status(15);

    assert_eq!(guest.status(), 3);
}

#[test]
fn features_are_not_chosen_before_driver() {
    let mut guest = FakeGuest::found(echo());
    guest.accept(OFFERED);
    guest.set_status(1);
    guest.accept(OFFERED);

    assert_eq!(guest.accepted(), 0);
}

#[test]
fn features_do_not_change_after_features_ok() {
    let mut guest = FakeGuest::found(echo());
    guest.negotiate();
    guest.accept(0);
    assert_eq!(guest.accepted(), OFFERED);

    guest.start();
    guest.accept(0);

    assert_eq!(guest.accepted(), OFFERED);
}

/// Write a word of the driver's features.
fn write_word(guest: &mut FakeGuest, select: u64, word: u64) {
    guest.write(common::DRIVER_FEATURE_SELECT, select);
    guest.write(common::DRIVER_FEATURE, word);
}

/// S7: shifting by 128 and more would panic.
#[test]
fn features_past_64_bits_are_not_offered_and_refused() {
    for select in [2, 3, 4, 32, 0x8000_0000, 0xffff_ffff] {
        let mut guest = choosing();
        guest.write(common::DEVICE_FEATURE_SELECT, select);
        assert_eq!(guest.read(common::DEVICE_FEATURE), 0);

        guest.accept(OFFERED);
        write_word(&mut guest, select, 0x8000_0000);
        let seen = if select < 4 { 0x8000_0000 } else { 0 };
        assert_eq!(guest.read(common::DRIVER_FEATURE), seen);
        assert_eq!(guest.read(common::DRIVER_FEATURE_SELECT), select);

        guest.set_status(11);
        assert_eq!(guest.status(), 3, "{select}");
        guest.set_status(0);
        guest.negotiate();
    }
}

/// Linux writes all four words.
#[test]
fn words_past_64_bits_may_be_written_as_zero() {
    let mut guest = choosing();
    guest.accept(OFFERED);
    for (select, word) in [(2, 1), (3, !0), (2, 0), (3, 0), (4, 0), (0xffff_ffff, 0)] {
        write_word(&mut guest, select, word);
    }

    guest.set_status(11);

    assert_eq!((guest.status(), guest.accepted()), (11, OFFERED));
}

/// S8: the device does what was negotiated, not what the driver then does.
#[test]
fn the_ring_follows_the_features_that_were_accepted() {
    let mut guest = FakeGuest::found(echo());
    guest.without = 1 << 28;
    guest.start();
    let data = guest.rings[0].buffer(crate::testing::ring::Part::FromGuest(b"a"));
    guest.rings[0].set_desc_in(0x30_0000, 0, data);

    let table = crate::testing::ring::Desc { addr: 0x30_0000, len: 16, flags: 4, next: 0 };
    guest.rings[0].offer_chain(&[table]);
    guest.notify(0);

    guest.wait_config_interrupt();
    assert_eq!(guest.status(), 15 | 64);
}
