//! The end of what the guest has printed on hvc0, for people: what is said of a panic
//! where hvc0 is not on this terminal, and what a report has.

use super::{patterns, plain};
use crate::console::Console;

/// How many lines are shown.
const LINES: usize = 20;

/// At most so many are, when the kernel's report of what is wrong begins further up: an oops
/// and the panic that it ends in have as many.
const REPORT: usize = 60;

/// How many bytes a report has of it.
const REPORTED: usize = 256 << 10;

/// The last lines, from where the kernel begins to tell what is wrong, without those at the
/// end in which nothing stands.
pub(super) fn last_lines(console: &Console) -> Vec<String> {
    last_of(&console.output.kept())
}

fn last_of(kept: &[u8]) -> Vec<String> {
    let text = plain::text(kept);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let before = |count| lines.len().saturating_sub(count);
    let (last, report) = (before(LINES), before(REPORT));
    let near = lines.get(report..).unwrap_or_default();
    let begin = patterns::reports()
        .ok()
        .and_then(|reports| near.iter().position(|line| reports.is_match(line.as_bytes())));
    let begin = begin.map_or(last, |at| last.min(report + at));
    lines.into_iter().skip(begin).map(str::to_string).collect()
}

/// What it said of its panic, if it did.
pub(super) fn panic_of(console: &Console) -> Option<String> {
    panic_in(&console.output.kept())
}

fn panic_in(kept: &[u8]) -> Option<String> {
    let text = plain::text(kept);
    let line = text.lines().find(|line| line.contains(patterns::PANIC))?;
    Some(line.trim().to_string())
}

/// The end of it, from the beginning of a line on.
pub(super) fn end(console: &Console) -> String {
    end_of(&console.output.kept())
}

fn end_of(kept: &[u8]) -> String {
    let Some(begin) = kept.len().checked_sub(REPORTED) else { return plain::text(kept) };
    let kept = kept.get(begin..).unwrap_or_default();
    let first = kept.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    plain::text(kept.get(first..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines() {
        let numbers = |range: std::ops::Range<u32>| {
            range.map(|number| format!("{number}\r\n")).collect::<String>()
        };
        let last = last_of(format!("{}\n\r\n", numbers(0..100)).as_bytes());
        assert_eq!(last.join(" "), numbers(80..100).replace("\r\n", " ").trim_end());
        assert_eq!(last_of(b"one\n\ntwo"), ["one", "", "two"]);
        assert!(last_of(b"").is_empty());
    }

    #[test]
    fn a_report_is_shown_from_its_beginning() {
        let log = |before: usize, after: usize| {
            let of = |count| "line\n".repeat(count);
            format!("{}[    1.0] BUG: kernel NULL pointer dereference\n{}", of(before), of(after))
        };
        let count = |before, after| last_of(log(before, after).as_bytes()).len();
        assert_eq!((count(100, 40), count(5, 59), count(100, 3)), (41, 60, 20));
        // It is of something else.
        assert_eq!(count(100, 60), 20);
    }

    #[test]
    fn the_words_of_a_panic() {
        let log = b"x\r\n[ 1.0] Kernel panic - not syncing: y\r\n---[ end Kernel panic - not ...";
        assert_eq!(panic_in(log).as_deref(), Some("[ 1.0] Kernel panic - not syncing: y"));
        assert_eq!(panic_in(b"nothing"), None);
    }

    #[test]
    fn the_end_begins_with_a_line() {
        assert_eq!(end_of(b"one\r\ntwo"), "one\ntwo");
        let long = "0123456789\n".repeat(REPORTED / 11 + 100);
        let end = end_of(long.as_bytes());
        assert!(end.starts_with("0123456789\n") && end.len() > REPORTED - 11, "{}", end.len());
    }
}
