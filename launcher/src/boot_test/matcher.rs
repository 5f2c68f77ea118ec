//! Compares a guest's output with patterns, line by line. It does not know the time:
//! [`super::follower`] decides when an unfinished line is examined (a prompt never gets its end),
//! and the result does not depend on how the output is cut into pieces.
//!
//! In a line, a forbidden pattern counts before an expected one, and an expected one before the
//! kernel's own reports: a line that the user expects is not a failure. The first line with a match
//! counts, except that a panic replaces the oops before it.

use super::patterns::Patterns;
use super::plain::Plain;

/// The longest line in bytes. A longer line is cut. A match across the cut is found if it is
/// shorter than the overlap.
const LONGEST: usize = 64 << 10;
const OVERLAP: usize = 4 << 10;

/// How many characters of a line are printed.
const EXCERPT: usize = 200;

/// The match that decides a boot test, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// The last expected pattern matched.
    Expected(String),
    /// This forbidden pattern matched.
    Forbidden(String, String),
    /// The kernel reported a failure.
    KernelFailure(String),
    /// The kernel panicked.
    Panic(String),
}

/// The position in the output, and the match so far.
#[derive(Debug)]
pub(super) struct Matcher {
    patterns: Patterns,
    plain: Plain,
    /// The line so far.
    line: Vec<u8>,
    /// How many bytes of the line have been examined.
    examined: usize,
    /// Where the search begins: 1 if the beginning of the line was cut off.
    begin: usize,
    /// The end of the last expected match in this line.
    from: usize,
    /// The index of the next expected pattern.
    next: usize,
    /// Whether an expected pattern has matched in this line.
    has_expected: bool,
    found: Option<Match>,
    panic_has_ended: bool,
}

impl Matcher {
    pub(super) fn new(patterns: Patterns) -> Self {
        Self {
            patterns,
            plain: Plain::default(),
            line: Vec::new(),
            examined: 0,
            begin: 0,
            from: 0,
            next: 0,
            has_expected: false,
            found: None,
            panic_has_ended: false,
        }
    }

    /// Add the next piece of output.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        for byte in piece {
            match self.plain.next(*byte) {
                None => {}
                Some(b'\n') => self.end_line(),
                Some(byte) => self.add(byte),
            }
        }
    }

    fn add(&mut self, byte: u8) {
        self.line.push(byte);
        if self.line.len() >= LONGEST {
            self.examine();
            let cut = LONGEST - OVERLAP;
            self.line.drain(..cut);
            self.begin = 1;
            self.from = self.from.saturating_sub(cut).max(1);
            self.examined = self.line.len();
        }
    }

    /// End the line: its end was printed, or no more output follows.
    pub(super) fn end_line(&mut self) {
        self.examine();
        self.forget_line();
    }

    /// Skip lost output. The next bytes do not continue this line.
    pub(super) fn skip(&mut self) {
        self.forget_line();
        self.plain = Plain::default();
    }

    fn forget_line(&mut self) {
        self.line.clear();
        (self.examined, self.begin, self.from) = (0, 0, 0);
        self.has_expected = false;
    }

    /// Whether a part of the line has not been examined.
    pub(super) fn has_more(&self) -> bool {
        self.examined < self.line.len()
    }

    /// Compare the line so far with the patterns.
    pub(super) fn examine(&mut self) {
        self.examined = self.line.len();
        match &self.found {
            None => self.found = self.find(),
            Some(Match::KernelFailure(_)) if self.matches_panic() => {
                self.found = Some(Match::Panic(self.excerpt()));
            }
            Some(Match::Panic(_)) if self.patterns.panic_ends.is_match(&self.line) => {
                self.panic_has_ended = true;
            }
            Some(_) => {}
        }
    }

    fn find(&mut self) -> Option<Match> {
        let line = &self.line;
        let forbidden = self.patterns.forbidden.iter();
        if let Some(pattern) = forbidden.clone().find(|it| it.is_match_at(line, self.begin)) {
            return Some(Match::Forbidden(pattern.to_string(), self.excerpt()));
        }
        while let Some(pattern) = self.patterns.expected.get(self.next) {
            let Some(place) = pattern.find_at(line, self.from.max(self.begin)) else { break };
            self.from = place.end();
            self.next += 1;
            self.has_expected = true;
            if self.next == self.patterns.expected.len() {
                return Some(Match::Expected(self.excerpt()));
            }
        }
        if self.has_expected {
            None
        } else if self.matches_panic() {
            Some(Match::Panic(self.excerpt()))
        } else if self.patterns.failures.is_match_at(line, self.begin) {
            Some(Match::KernelFailure(self.excerpt()))
        } else {
            None
        }
    }

    fn matches_panic(&self) -> bool {
        self.patterns.panic.is_match_at(&self.line, self.begin)
    }

    /// The line, shortened for people.
    fn excerpt(&self) -> String {
        let line = String::from_utf8_lossy(&self.line);
        let line = line.trim();
        match line.char_indices().nth(EXCERPT) {
            Some((end, _)) => format!("{}...", line.get(..end).unwrap_or(line)),
            None => line.to_string(),
        }
    }

    /// The match so far.
    pub(super) fn found(&self) -> Option<&Match> {
        self.found.as_ref()
    }

    /// Whether the report of a panic is complete.
    pub(super) fn panic_has_ended(&self) -> bool {
        self.panic_has_ended
    }

    /// The pattern that has to match next.
    pub(super) fn awaited(&self) -> Option<&str> {
        self.patterns.expected.get(self.next).map(regex::bytes::Regex::as_str)
    }
}
