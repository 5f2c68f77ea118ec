//! The pure parts; that a terminal gets `\r\n` is seen in [`crate::terminal`].

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
    let mut budget = Budget::new();
    let start = Instant::now();
    let printed = (0..100).filter(|_| budget.spend(start).allowed).count();
    assert_eq!(printed, 20);
    let next = budget.spend(start + PERIOD);
    assert_eq!(next, Spend { allowed: true, suppressed: Some(80) });
    assert_eq!(budget.spend(start + PERIOD).suppressed, None);
}
