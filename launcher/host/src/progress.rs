//! The progress of reading a large file: a line on stderr, if stderr is a terminal and reading
//! takes over a second. The line is wiped at the end. Only the first start shows it: later, the
//! terminal belongs to the guest.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp, write};

/// The time after which a line is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// The time between two updates of the line.
const PERIOD: Duration = Duration::from_millis(200);

/// Whether the terminal belongs to the guest, so that no line is shown.
static OVER: AtomicBool = AtomicBool::new(false);

/// Whether a line is shown, which has to be wiped before other output.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Show no lines from now on.
pub fn no_more() {
    wipe();
    OVER.store(true, Ordering::Relaxed);
}

/// Wipe the line, if one is shown.
pub(crate) fn wipe() {
    if SHOWN.swap(false, Ordering::Relaxed) {
        print("\r\x1b[K");
    }
}

/// The progress line for one file, or a part of one.
#[derive(Debug)]
struct ProgressLine {
    what: String,
    total: u64,
    done: u64,
    /// When the next update is due.
    next: Instant,
}

impl ProgressLine {
    /// The line for reading `total` bytes, none of which have been read.
    fn new(what: &str, total: u64) -> Self {
        Self { what: what.into(), total, done: 0, next: Instant::now() + PATIENCE }
    }

    /// Add bytes that have been read.
    fn add(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        if let Some(line) = self.line(Instant::now()) {
            show(&line);
        }
    }

    fn line(&mut self, now: Instant) -> Option<String> {
        if now < self.next {
            return None;
        }
        self.next = now + PERIOD;
        Some(format!("{}: {} of {} MiB", self.what, self.done >> 20, self.total.div_ceil(1 << 20)))
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        wipe();
    }
}

fn show(line: &str) {
    if !OVER.load(Ordering::Relaxed) && is_for_us() {
        SHOWN.store(true, Ordering::Relaxed);
        // Cut off at the end of the terminal's line: only one line can be wiped.
        let columns = crate::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let line: String = format!("lguest: {line}").chars().take(columns.max(2) - 1).collect();
        print(&format!("\r{line}\x1b[K"));
    }
}

/// Whether stderr is a terminal that can wipe a line, with no other job in its foreground. (A
/// launcher that detaches itself has no terminal of its own, but its user waits.)
fn is_for_us() -> bool {
    let stderr = io::stderr();
    let in_foreground = tcgetpgrp(stderr.as_fd()).map_or(true, |group| group == getpgrp());
    stderr.is_terminal() && in_foreground && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Print as much as the terminal takes at once, without waiting.
fn print(text: &str) {
    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1)) {
        let _ = write(&stderr, text.as_bytes());
    }
}

/// Show the progress of reading `what`, which has `total` bytes. Returns a function that takes the
/// number of bytes that were read since its last call.
#[must_use]
pub fn watch(what: &str, total: u64) -> Box<dyn FnMut(u64)> {
    let mut progress = ProgressLine::new(what, total);
    Box::new(move |bytes| progress.add(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_after_a_second_and_then_once_a_period() {
        let mut progress = ProgressLine::new("kernel", 40 << 20);
        progress.done = 5 << 20;
        let start = progress.next - PATIENCE;
        assert_eq!(progress.line(start + PATIENCE - Duration::from_millis(1)), None);
        let line = progress.line(start + PATIENCE);
        assert_eq!(line.as_deref(), Some("kernel: 5 of 40 MiB"));
        assert_eq!(progress.line(start + PATIENCE + PERIOD / 2), None);
        assert!(progress.line(start + PATIENCE + PERIOD).is_some());
    }
}
