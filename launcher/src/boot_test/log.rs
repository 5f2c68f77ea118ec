//! The end of the guest's output on hvc0, for people: the report of a panic if hvc0 is not on this
//! terminal, and the log in a JUnit report.

use super::{patterns, plain};
use crate::console::GuestConsole;

/// How many lines are printed.
const LINES: usize = 20;

/// How many lines are printed at most if the kernel's report of a failure begins further up. An
/// oops and the panic after it have this many lines.
const REPORT: usize = 60;

/// How many bytes of output a JUnit report has.
const REPORTED: usize = 256 << 10;

/// The last lines, from the beginning of the kernel's report of a failure. Empty lines at the end
/// are left out.
pub(super) fn last_lines(console: &GuestConsole) -> Vec<String> {
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

/// The line that reports the kernel's panic, if there is one.
pub(super) fn panic_line(console: &GuestConsole) -> Option<String> {
    panic_in(&console.output.kept())
}

fn panic_in(kept: &[u8]) -> Option<String> {
    let text = plain::text(kept);
    let line = text.lines().find(|line| line.contains(patterns::PANIC))?;
    Some(line.trim().to_string())
}

/// The end of the output, from the beginning of a line.
pub(super) fn end(console: &GuestConsole) -> String {
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
    fn the_last_lines_are_kept() {
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
        // A report further up is about something else.
        assert_eq!(count(100, 60), 20);
    }

    #[test]
    fn the_line_of_a_panic_is_found() {
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
