//! How far the reading of a large file is: a line on stderr when it takes over a second, if
//! that is a terminal; gone when it is done. Only the first start shows it: later the
//! terminal belongs to the guest.

use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp, write};

/// What is done sooner needs no line.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks of the line.
const PERIOD: Duration = Duration::from_millis(200);

/// Nobody's terminal is ours any more.
static OVER: AtomicBool = AtomicBool::new(false);

/// There is a line, to be wiped before something else is written.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// From now on there are no such lines.
pub fn no_more() {
    wipe();
    OVER.store(true, Ordering::Relaxed);
}

/// Wipe the line, if there is one.
pub(crate) fn wipe() {
    if SHOWN.swap(false, Ordering::Relaxed) {
        print("\r\x1b[K");
    }
}

/// The reading of one file, or part of one.
#[derive(Debug)]
struct ProgressLine {
    what: String,
    total: u64,
    done: u64,
    /// When the line is due.
    next: Instant,
}

impl ProgressLine {
    /// Of so many bytes, none of which have been read.
    fn new(what: &str, total: u64) -> Self {
        Self { what: what.into(), total, done: 0, next: Instant::now() + PATIENCE }
    }

    /// So many more have been read.
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
        // Cut off where the terminal's line ends: only one line can be wiped.
        let columns = crate::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let line: String = format!("lguest: {line}").chars().take(columns.max(2) - 1).collect();
        print(&format!("\r{line}\x1b[K"));
    }
}

/// Is stderr a terminal that can wipe a line, with nobody else in its foreground? (A launcher
/// that detaches itself has no terminal of its own, but its user waits.)
fn is_for_us() -> bool {
    let stderr = io::stderr();
    let in_foreground = tcgetpgrp(stderr.as_fd()).map_or(true, |group| group == getpgrp());
    stderr.is_terminal() && in_foreground && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// As much as the terminal takes at once: nothing waits for it.
fn print(text: &str) {
    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1)) {
        let _ = write(&stderr, text.as_bytes());
    }
}

/// Show how far the reading of `what` is, which has `total` bytes. The answer takes the number of
/// bytes that were read since its last call.
#[must_use]
pub fn watch(what: &str, total: u64) -> Box<dyn FnMut(u64)> {
    let mut progress = ProgressLine::new(what, total);
    Box::new(move |bytes| progress.add(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_after_a_second_and_not_all_the_time() {
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
