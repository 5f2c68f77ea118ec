//! Output and patterns, in pieces of every size.

use crate::boot_test::matcher::{Match, Matcher};
use crate::boot_test::patterns::Patterns;
use crate::config::BootTestConfig;

fn matcher(expect: &[&str], fail_on: &[&str]) -> Matcher {
    Matcher::new(Patterns::of(&BootTestConfig::looking_for(expect, fail_on)).unwrap())
}

/// The next pseudo-random number.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).unwrap()
}

/// The match, and the pattern that is still awaited: independent of how the output is cut.
#[track_caller]
fn found(expect: &[&str], fail_on: &[&str], output: &[u8]) -> (Option<Match>, Option<String>) {
    let of = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut matcher = matcher(expect, fail_on);
        pieces.for_each(|piece| matcher.feed(piece));
        matcher.end_line();
        (matcher.found().cloned(), matcher.awaited().map(str::to_string))
    };
    let whole = of(&mut [output].into_iter());
    for size in 1..8 {
        assert_eq!(of(&mut output.chunks(size)), whole, "in pieces of {size}");
    }
    for seed in 0..50 {
        let (mut state, mut rest) = (seed, output);
        let mut pieces = std::iter::from_fn(|| {
            let size = next(&mut state) % 40;
            let (piece, left) = rest.split_at_checked(size).unwrap_or((rest, &[]));
            let more = !rest.is_empty();
            rest = left;
            more.then_some(piece)
        });
        assert_eq!(of(&mut pieces), whole, "seed {seed}");
    }
    whole
}

fn seen(line: &str) -> Option<Match> {
    Some(Match::Expected(line.into()))
}

#[test]
fn a_line_is_found_through_colours_and_carriage_returns() {
    let output = b"one\r\n\x1b[1mWel\x1b[0mcome to \x1b[31mLinux\x1b[0m\r\nthree\r\n";
    assert_eq!(found(&["^Welcome to Linux$"], &[], output).0, seen("Welcome to Linux"));
    assert_eq!(found(&["Linux.*three"], &[], output), (None, Some("Linux.*three".into())));
}

#[test]
fn several_patterns_match_in_their_order() {
    let output = b"a\nb\nc b a\n";
    assert_eq!(found(&["a", "b", "c"], &[], output), (seen("c b a"), None));
    assert_eq!(found(&["c", "b", "a"], &[], output), (seen("c b a"), None));
    assert_eq!(found(&["c", "a", "b"], &[], output), (None, Some("b".into())));
    assert_eq!(found(&["b", "b", "b"], &[], output), (None, Some("b".into())));
}

#[test]
fn what_came_first_in_the_output_decides() {
    let unwanted = |line: &str| Some(Match::Forbidden("bad".into(), line.into()));
    assert_eq!(found(&["good"], &["bad"], b"bad\ngood\n").0, unwanted("bad"));
    assert_eq!(found(&["good"], &["bad"], b"good\nbad\n").0, seen("good"));
    assert_eq!(found(&["good"], &["bad"], b"good and bad\n").0, unwanted("good and bad"));
    let oops = b"[ 1.0] BUG: kernel NULL pointer dereference\nbad\ngood\n";
    let failure = "[ 1.0] BUG: kernel NULL pointer dereference";
    assert_eq!(found(&["good"], &["bad"], oops).0, Some(Match::KernelFailure(failure.into())));
    assert_eq!(
        found(&["good"], &["BUG: "], oops).0,
        Some(Match::Forbidden("BUG: ".into(), failure.into()))
    );
}

#[test]
fn a_panic_counts_for_more_than_its_oops() {
    let output =
        b"[ 1.0] Oops: 0002 [#1] SMP\n[ 1.0] Kernel panic - not syncing: Fatal exception\n";
    let panic = "[ 1.0] Kernel panic - not syncing: Fatal exception";
    assert_eq!(found(&["x"], &[], output).0, Some(Match::Panic(panic.into())));
    let text = "[ 1.0] Oops: 0002 [#1] SMP";
    assert_eq!(found(&[], &["Oops"], output).0, Some(Match::Forbidden("Oops".into(), text.into())));
}

#[test]
fn an_expected_panic_is_not_a_failure() {
    let output = b"[ 1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n";
    assert!(matches!(found(&["Unable to mount root"], &[], output).0, Some(Match::Expected(_))));
    let two = ["Kernel panic", "Rebooting"];
    assert_eq!(found(&two, &[], output), (None, Some("Rebooting".into())));
}

#[test]
fn the_text_of_a_panic_has_an_end() {
    for last in ["---[ end Kernel panic - not syncing: x ]---", "Rebooting in 5 seconds.."] {
        let mut matcher = matcher(&["x y"], &[]);
        matcher.feed(b"Kernel panic - not syncing: x\nCall Trace:\n");
        assert!(!matcher.panic_has_ended());
        matcher.feed(format!("[ 1.0] {last}\n").as_bytes());
        assert!(matcher.panic_has_ended(), "{last}");
    }
}

#[test]
fn a_prompt_is_found_when_it_is_examined() {
    let mut matcher = matcher(&["login: $", "Password: $"], &[]);
    matcher.feed(b"debian log");
    assert!(matcher.has_more());
    matcher.examine();
    assert!(!matcher.has_more());
    matcher.feed(b"in: ");
    matcher.examine();
    assert_eq!(matcher.awaited(), Some("Password: $"));
    // The line continues, and a pattern that has matched does not match again.
    matcher.feed(b"root login: ");
    matcher.examine();
    assert_eq!(matcher.found(), None);
    matcher.feed(b"\r\nPassword: ");
    matcher.examine();
    assert_eq!(matcher.found(), seen("Password:").as_ref());
}

/// A match in a line that grows is a match in the whole line, too.
#[test]
fn examining_often_changes_nothing() {
    let output = b"a line with one, and with two, and 3\nand four\n";
    for seed in 0..50 {
        let (mut state, mut matcher) = (seed, matcher(&["one", "two", r"\d", "four"], &["five"]));
        for byte in output {
            matcher.feed(&[*byte]);
            if next(&mut state).is_multiple_of(3) {
                matcher.examine();
            }
        }
        assert_eq!(matcher.found(), seen("and four").as_ref(), "seed {seed}");
    }
}

#[test]
fn a_line_without_end_is_bounded_and_nothing_in_it_is_missed() {
    let filler = vec![b'.'; 100_000];
    // At the cut, and elsewhere.
    for at in (0..100_000).step_by(9_999).chain(65_524..65_538) {
        let mut line = filler.clone();
        line.splice(at..at, *b"here it is");
        let mut matcher = matcher(&["here it is"], &["^here", "^it"]);
        line.chunks(1000).for_each(|piece| matcher.feed(piece));
        matcher.examine();
        let wanted = match (at, matcher.found()) {
            (0, Some(Match::Forbidden(..))) => true,
            (_, found) => matches!(found, Some(Match::Expected(line)) if line.len() < 300),
        };
        assert!(wanted, "{at}: {:?}", matcher.found());
    }
    let mut matcher = matcher(&["x{2}"], &[]);
    (0..20).for_each(|_| matcher.feed(&filler));
    assert!(format!("{matcher:?}").len() < 1 << 20, "it keeps all of a line");
}

#[test]
fn a_gap_ends_the_line() {
    let mut matcher = matcher(&["^two$", "onetwo"], &[]);
    matcher.feed(b"one\x1b[3");
    matcher.skip();
    matcher.feed(b"two\n");
    assert_eq!((matcher.found(), matcher.awaited()), (None, Some("onetwo")));
}
