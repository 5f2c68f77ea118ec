//! The launcher's own words, on stderr: the `log` macros end here, and main's
//! last report does. A message is one write; none can block for long, fail or
//! panic, since a guest can cause them in any thread, and as many as it likes.

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

/// How long a message waits for a stderr that nobody reads.
const PATIENCE_MS: u8 = 100;

static MESSAGES: Messages = Messages {
    by_guest: Mutex::new(Budget::new(LONGEST)),
    verbose: Mutex::new(Budget::new(PERIOD)),
};

/// Warnings about the host are always printed: the code that logs one keeps them few. What a guest
/// causes, and what `--verbose` logs, have a budget each, and so suppress nothing else.
struct Messages {
    by_guest: Mutex<Budget>,
    verbose: Mutex<Budget>,
}

/// Have the `log` macros print to stderr; with `verbose`, all of them.
pub fn start(verbose: bool) {
    log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Warn });
    // Fails only if it was done before, and then all is well.
    let _ = log::set_logger(&MESSAGES);
}

/// Print, whatever has been printed before: for what a user must see.
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
    /// What a message is counted against, if it is counted.
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
