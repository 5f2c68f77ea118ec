//! The launcher's own messages, on stderr: those of the `log` macros, and main's
//! last report. A message is one write. No message can block for long, fail or
//! panic, because a guest can cause any number of them in any thread.

use std::fmt::Write;
use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::Instant;

use devices::log_interval::{BY_GUEST, LONGEST};
use devices::mutex::lock;
use libc::OPOST;
use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use crate::progress;
use crate::terminal::sys;
use budget::{Budget, PERIOD, Spend};

mod budget;

#[cfg(test)]
mod tests;

/// How long, in milliseconds, a message waits for a stderr that nobody reads.
const PATIENCE_MS: u8 = 100;

static MESSAGES: Messages = Messages {
    by_guest: Mutex::new(Budget::new(LONGEST)),
    verbose: Mutex::new(Budget::new(PERIOD)),
};

/// Warnings about the host are always printed: the code that logs one keeps them few. What a guest
/// causes, and what `--verbose` logs, have a budget each, so that they suppress no other messages.
struct Messages {
    by_guest: Mutex<Budget>,
    verbose: Mutex<Budget>,
}

/// Have the `log` macros print to stderr; with `verbose`, all of them.
pub fn start(verbose: bool) {
    log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Warn });
    // Fails only if the logger is already set.
    let _ = log::set_logger(&MESSAGES);
}

/// Print a message that the user must see, without a budget.
pub fn say(text: &str) {
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
        let spend = match self.budget(record.metadata()) {
            Some(budget) => lock(budget).spend(Instant::now()),
            None => Spend { allowed: true, suppressed: None },
        };
        if let Some(suppressed) = spend.suppressed {
            print(&format!("{suppressed} messages suppressed"));
        }
        if spend.allowed {
            print(&record.args().to_string());
        }
    }

    fn flush(&self) {
        let budgets = [&self.by_guest, &self.verbose].into_iter();
        let suppressed: u64 = budgets.map(|it| std::mem::take(&mut lock(it).suppressed)).sum();
        if suppressed > 0 {
            print(&format!("{suppressed} messages suppressed"));
        }
    }
}

impl Messages {
    /// The budget of a message. `None` if the message is always printed.
    fn budget(&self, message: &Metadata<'_>) -> Option<&Mutex<Budget>> {
        if message.level() > Level::Warn {
            return Some(&self.verbose);
        }
        (message.target() == BY_GUEST).then_some(&self.by_guest)
    }
}

fn print(text: &str) {
    progress::wipe();
    let stderr = io::stderr();
    // Checked every time: any other program may have made this terminal raw.
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

/// Remove the numbers that Rust puts behind the names of errors: "(os error 2)".
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

/// The printed form of `text`, which ends each line with `end`. Control characters are escaped, so
/// that a text from a guest cannot move the cursor.
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
