//! The launcher's own words, on stderr: the `log` macros end here, and main's
//! last report does. A message is one write; none can block for long, fail or
//! panic, since a guest can cause them in any thread, and as many as it likes.

use std::fmt::Write;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libc::OPOST;
use log::{LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use crate::progress;
use crate::terminal::sys;

#[cfg(test)]
mod tests;

/// More messages than this within [`PERIOD`] are only counted.
const BURST: u32 = 20;
const PERIOD: Duration = Duration::from_secs(1);

/// How long a message waits for a stderr that nobody reads.
const PATIENCE_MS: u8 = 100;

static MESSAGES: Messages = Messages { budget: Mutex::new(Budget::new()) };

struct Messages {
    budget: Mutex<Budget>,
}

/// Have the `log` macros print to stderr; with `verbose`, all of them.
pub(crate) fn start(verbose: bool) {
    log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Warn });
    // Fails only if it was done before, and then all is well.
    let _ = log::set_logger(&MESSAGES);
}

/// Print, whatever has been printed before: for what a user must see.
pub(crate) fn say(text: &str) {
    MESSAGES.flush();
    print(text);
}

impl Log for Messages {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let spend = self.budget().spend(Instant::now());
        if let Some(suppressed) = spend.suppressed {
            print(&format!("{suppressed} messages suppressed"));
        }
        if spend.allowed {
            print(&record.args().to_string());
        }
    }

    fn flush(&self) {
        let suppressed = std::mem::take(&mut self.budget().suppressed);
        if suppressed > 0 {
            print(&format!("{suppressed} messages suppressed"));
        }
    }
}

impl Messages {
    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may still be said in this period.
#[derive(Debug)]
struct Budget {
    since: Option<Instant>,
    spent: u32,
    suppressed: u64,
}

/// What to do about one message.
#[derive(Debug, PartialEq, Eq)]
struct Spend {
    allowed: bool,
    /// So many were not printed in the period before: to be said first.
    suppressed: Option<u64>,
}

impl Budget {
    const fn new() -> Self {
        Self { since: None, spent: 0, suppressed: 0 }
    }

    fn spend(&mut self, now: Instant) -> Spend {
        let mut suppressed = None;
        if self.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            suppressed = Some(self.suppressed).filter(|count| *count > 0);
            *self = Self { since: Some(now), spent: 0, suppressed: 0 };
        }
        let allowed = self.spent < BURST;
        if allowed {
            self.spent += 1;
        } else {
            self.suppressed += 1;
        }
        Spend { allowed, suppressed }
    }
}

fn print(text: &str) {
    progress::wipe();
    let stderr = io::stderr();
    // Asked every time: who else may have made this terminal raw is not ours to know.
    let raw = sys::modes(stderr.as_fd()).is_ok_and(|modes| modes.c_oflag & OPOST == 0);
    let lines = lines(&in_words(text), if raw { "\r\n" } else { "\n" });
    let mut rest = lines.as_bytes();
    while !rest.is_empty() {
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if !matches!(poll(&mut ready, PollTimeout::from(PATIENCE_MS)), Ok(1)) {
            return;
        }
        // A pipe that is ready takes at least this much without blocking.
        let part = rest.get(..libc::PIPE_BUF).unwrap_or(rest);
        match write(&stderr, part) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(_) => return,
        }
    }
}

/// `text` without the numbers that Rust puts behind the names of errors: "(os error 2)".
fn in_words(text: &str) -> String {
    const NUMBER: &str = " (os error ";
    let mut parts = text.split(NUMBER);
    let mut words = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let rest = part.trim_start_matches(|it: char| it.is_ascii_digit() || it == '-');
        match rest.strip_prefix(')') {
            Some(rest) => words.push_str(rest),
            None => words.extend([NUMBER, part]),
        }
    }
    words
}

/// `text` as it is printed. What a guest had a say in cannot move the cursor.
fn lines(text: &str, end: &str) -> String {
    let mut lines = String::with_capacity(text.len() + 16);
    for line in text.lines() {
        lines.push_str("lguest: ");
        for character in line.chars() {
            if character.is_control() && character != '\t' {
                // Cannot fail: a String grows.
                let _ = write!(lines, "{}", character.escape_default());
            } else {
                lines.push(character);
            }
        }
        lines.push_str(end);
    }
    lines
}
