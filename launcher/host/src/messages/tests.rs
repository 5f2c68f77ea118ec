//! The pure parts. Tests of [`crate::terminal`] check that a terminal gets `\r\n`.

use super::*;

#[test]
fn every_line_has_its_prefix_and_no_control_character() {
    assert_eq!(
        lines("one\n\ttwo\x1b[2J\r", "\r\n"),
        "lguest: one\r\nlguest: \ttwo\\u{1b}[2J\\r\r\n"
    );
}

#[test]
fn errors_have_no_numbers() {
    let error = io::Error::from_raw_os_error(2);
    assert_eq!(
        in_words(&format!("a: {error}: b: {error}")),
        format!("a: {0}: b: {0}", "No such file or directory")
    );
    assert_eq!(in_words("a (os error x) b (os error 2"), "a (os error x) b (os error 2");
}

#[test]
fn a_flood_is_cut_and_counted() {
    let mut budget = Budget::new(PERIOD);
    let start = Instant::now();
    let printed = (0..100).filter(|_| budget.spend(start).allowed).count();
    assert_eq!(printed, 20);
    let next = budget.spend(start + PERIOD);
    assert_eq!(next, Spend { allowed: true, suppressed: Some(80) });
    assert_eq!(budget.spend(start + PERIOD).suppressed, None);
}

/// The number of lines that are printed of 50 a second, with those that report suppressed ones.
fn printed(budget: &mut Budget, begin: Instant, hours: u32) -> usize {
    let times = (0..50 * 3600 * hours).map(|turn| begin + PERIOD * turn / 50);
    let spent = times.map(|now| budget.spend(now));
    spent.map(|it| usize::from(it.allowed) + usize::from(it.suppressed.is_some())).sum()
}

#[test]
fn a_flood_without_end_is_a_few_lines_an_hour() {
    let (mut budget, begin) = (Budget::new(LONGEST), Instant::now());
    // 12 periods of 1 to 2048 seconds, and then hours.
    assert!(printed(&mut budget, begin, 2) <= 14 * 21);
    assert!(printed(&mut budget, begin + 2 * LONGEST, 10) <= 11 * 21);
    // After an hour of quiet, a second is a period again.
    let later = begin + 13 * LONGEST;
    assert_eq!((0..30).filter(|_| budget.spend(later).allowed).count(), 20);
    assert!(budget.spend(later + PERIOD).allowed);
}

#[test]
fn messages_that_a_guest_causes_suppress_no_others() {
    let budget = |level, target| {
        let message = Metadata::builder().level(level).target(target).build();
        MESSAGES.budget(&message).map(std::ptr::from_ref)
    };
    let (by_guest, verbose) = (&raw const MESSAGES.by_guest, &raw const MESSAGES.verbose);
    assert_eq!(budget(Level::Warn, BY_GUEST), Some(by_guest));
    assert_eq!(budget(Level::Warn, "lguest::net::reattach"), None);
    assert_eq!(budget(Level::Error, "devices::kick"), None);
    for target in [BY_GUEST, "devices::virtio_pci::start"] {
        assert_eq!(budget(Level::Debug, target), Some(verbose));
    }
}
