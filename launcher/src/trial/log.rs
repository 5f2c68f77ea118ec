//! The end of what the guest has printed on hvc0, for people: what is said of a panic
//! where hvc0 is not on this terminal, and what a report has. Used by [`super::Trial`].

use super::{patterns, plain};
use crate::console::Console;

/// How many lines are shown.
const LINES: usize = 20;

/// How many bytes a report has of it.
const REPORTED: usize = 256 << 10;

/// The last lines, without those at the end in which nothing stands.
pub(super) fn last_lines(console: &Console) -> Vec<String> {
    last_of(&console.output.kept())
}

fn last_of(kept: &[u8]) -> Vec<String> {
    let text = plain::text(kept);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let skip = lines.len().saturating_sub(LINES);
    lines.into_iter().skip(skip).map(str::to_string).collect()
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
