//! Compares what a guest prints with patterns, line by line. It knows nothing of time:
//! [`super::follower`] tells when a line that has no end yet is to be looked at (a
//! prompt never gets one), and the answer is the same wherever output is cut in pieces.
//!
//! In a line, what the user does not want counts before what he waits for, and that
//! before what the kernel says of its failures: a line that was waited for is not one of
//! those. Of two lines the first counts, but a panic counts for more than the oops before it.

use super::patterns::Patterns;
use super::plain::Plain;

/// A line that is longer is cut; what matches across the cut is found if it is shorter
/// than the overlap.
const LONGEST: usize = 64 << 10;
const OVERLAP: usize = 4 << 10;

/// As much of a line as is told.
const TOLD: usize = 200;

/// What has been found, with the line that it was in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The last of what was waited for.
    Seen(String),
    /// This pattern, which was not to match.
    Unwanted(String, String),
    /// The kernel fails.
    Failure(String),
    /// The kernel has panicked.
    Panic(String),
}

/// Where it is in the output, and what it has found.
#[derive(Debug)]
pub(super) struct Matcher {
    patterns: Patterns,
    plain: Plain,
    /// The line so far.
    line: Vec<u8>,
    /// So much of it has been looked at.
    looked: usize,
    /// Where the search begins: 1 if the beginning of the line was cut off.
    begin: usize,
    /// Behind what was waited for before.
    from: usize,
    /// The next that is waited for.
    next: usize,
    /// Something in this line was waited for.
    expected: bool,
    found: Option<Found>,
    is_told: bool,
}

impl Matcher {
    pub(super) fn new(patterns: Patterns) -> Self {
        Self {
            patterns,
            plain: Plain::default(),
            line: Vec::new(),
            looked: 0,
            begin: 0,
            from: 0,
            next: 0,
            expected: false,
            found: None,
            is_told: false,
        }
    }

    /// What was printed next.
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
            self.look();
            let cut = LONGEST - OVERLAP;
            self.line.drain(..cut);
            self.begin = 1;
            self.from = self.from.saturating_sub(cut).max(1);
            self.looked = self.line.len();
        }
    }

    /// The line is over, or no more of it will come.
    pub(super) fn end_line(&mut self) {
        self.look();
        self.forget_line();
    }

    /// Some output is missing: what comes does not go on with this line.
    pub(super) fn skip(&mut self) {
        self.forget_line();
        self.plain = Plain::default();
    }

    fn forget_line(&mut self) {
        self.line.clear();
        (self.looked, self.begin, self.from) = (0, 0, 0);
        self.expected = false;
    }

    /// Whether there is a part of a line that has not been looked at.
    pub(super) fn has_more(&self) -> bool {
        self.looked < self.line.len()
    }

    /// Look at the line as it is.
    pub(super) fn look(&mut self) {
        self.looked = self.line.len();
        match &self.found {
            None => self.found = self.find(),
            Some(Found::Failure(_)) if self.matches_panic() => {
                self.found = Some(Found::Panic(self.told()));
            }
            Some(Found::Panic(_)) if self.patterns.panic_ends.is_match(&self.line) => {
                self.is_told = true;
            }
            Some(_) => {}
        }
    }

    fn find(&mut self) -> Option<Found> {
        let line = &self.line;
        let unwanted = self.patterns.unwanted.iter();
        if let Some(pattern) = unwanted.clone().find(|it| it.is_match_at(line, self.begin)) {
            return Some(Found::Unwanted(pattern.to_string(), self.told()));
        }
        while let Some(pattern) = self.patterns.expected.get(self.next) {
            let Some(place) = pattern.find_at(line, self.from.max(self.begin)) else { break };
            self.from = place.end();
            self.next += 1;
            self.expected = true;
            if self.next == self.patterns.expected.len() {
                return Some(Found::Seen(self.told()));
            }
        }
        if self.expected {
            None
        } else if self.matches_panic() {
            Some(Found::Panic(self.told()))
        } else if self.patterns.failures.is_match_at(line, self.begin) {
            Some(Found::Failure(self.told()))
        } else {
            None
        }
    }

    fn matches_panic(&self) -> bool {
        self.patterns.panic.is_match_at(&self.line, self.begin)
    }

    /// The line, for people.
    fn told(&self) -> String {
        let line = String::from_utf8_lossy(&self.line);
        let line = line.trim();
        match line.char_indices().nth(TOLD) {
            Some((end, _)) => format!("{}...", line.get(..end).unwrap_or(line)),
            None => line.to_string(),
        }
    }

    /// What has been found so far.
    pub(super) fn found(&self) -> Option<&Found> {
        self.found.as_ref()
    }

    /// Whether no more is to be said of a panic that was found.
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    /// The pattern that is waited for next.
    pub(super) fn awaited(&self) -> Option<&str> {
        self.patterns.expected.get(self.next).map(regex::bytes::Regex::as_str)
    }
}
