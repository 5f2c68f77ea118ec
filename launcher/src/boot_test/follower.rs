//! The thread that follows the guest's output on hvc0. It is a reader like any other, at its own
//! pace, so that nothing waits for it. It passes the output to [`super::matcher`], decides when an
//! unfinished line is examined, and announces a match. [`super::verdict`] puts the match into
//! words.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use devices::log_interval::BY_GUEST;
use devices::mutex::{lock, wait_timeout};
use devices::threads;
use host::exit::Exit;
use host::output::{OutputRing, Reader, ReaderRole, Taken};

use super::matcher::{Match, Matcher};
use crate::ending::Ending;

/// How long a line may lack its end before it is examined: a prompt never gets one.
const MOMENT: Duration = Duration::from_millis(100);

/// How long a guest continues after a failure, so that the log has all of the report.
const REST: Duration = Duration::from_secs(1);
/// How long a guest continues after a panic whose report does not end.
const PANIC: Duration = Duration::from_secs(3);

/// How long the end of a guest waits until the rest of its output is examined. The rest is a
/// megabyte at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// The follower of a console's output. Its thread ends when the output is finished.
#[derive(Debug)]
pub(super) struct Follower {
    output: OutputRing,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The main thread sleeps here at a guest's end.
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    matcher: Matcher,
    /// The position up to which the output is examined.
    at: u64,
    /// How many bytes were lost before they were examined.
    lost: u64,
    /// When an unfinished line is examined.
    look: Option<Instant>,
    /// When a pattern matched.
    found: Option<Instant>,
    announced: bool,
}

/// What the follower found in a guest's whole output.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) found: Option<Match>,
    /// When the pattern matched; if none did, when the guest's end was handled.
    pub(super) at: Instant,
    /// The pattern that had not matched yet.
    pub(super) awaited: Option<String>,
    /// How many bytes were lost before they were examined.
    pub(super) lost: u64,
}

impl Follower {
    /// Follow the output from its beginning.
    ///
    /// # Errors
    /// When the host has no thread left.
    pub(super) fn start(
        output: &OutputRing,
        exit: &Arc<Exit<Ending>>,
        matcher: Matcher,
    ) -> io::Result<Self> {
        let state = State { matcher, at: 0, lost: 0, look: None, found: None, announced: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), moved: Condvar::new() });
        let (ours, exit) = (Arc::clone(&shared), Arc::clone(exit));
        let reader = output.reader(ReaderRole::Witness);
        threads::start("con0-test", move || follow(reader, &ours, &exit))?;
        Ok(Self { output: output.clone(), shared })
    }

    /// The pattern that has to match next.
    pub(super) fn awaited(&self) -> Option<String> {
        self.shared.lock().matcher.awaited().map(str::to_string)
    }

    /// Wait until the whole output is examined. The guest's threads must have ended, so that it
    /// prints no more.
    pub(super) fn examine_rest(&self) -> Examined {
        let (end, until) = (self.output.end(), Instant::now() + PATIENCE);
        let mut state = self.shared.lock();
        while state.at < end {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.lost = state.lost.saturating_add(end.saturating_sub(state.at));
                break;
            }
            state = wait_timeout(&self.shared.moved, state, left);
        }
        state.matcher.end_line();
        Examined {
            found: state.matcher.found().cloned(),
            at: state.found.unwrap_or_else(Instant::now),
            awaited: state.matcher.awaited().map(str::to_string),
            lost: state.lost,
        }
    }
}

fn follow(mut reader: Reader, shared: &Shared, exit: &Exit<Ending>) {
    let (mut chunk, mut until) = (Vec::new(), None);
    loop {
        let taken = reader.take_until(&mut chunk, until);
        if taken == Taken::Last {
            return;
        }
        // The position is read first: bytes that are lost after that are counted next time.
        let (at, lost) = (reader.position(), reader.progress());
        let mut state = shared.lock();
        if lost > 0 {
            log::warn!(
                target: BY_GUEST,
                "{lost} bytes of the guest's output were lost before they were looked at"
            );
            state.lost = state.lost.saturating_add(lost);
            state.matcher.skip();
        }
        state.matcher.feed(&chunk);
        let now = Instant::now();
        let look = state.examine_unfinished(now);
        let due = state.announcement_due(now);
        until = [look, due].into_iter().flatten().min();
        if due.is_some_and(|due| due <= now) {
            until = look;
            state.announced = true;
            exit.end(Ending::Decided);
        }
        state.at = at;
        shared.moved.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Examine a line that has lacked its end for a moment. Returns when to examine it otherwise.
    fn examine_unfinished(&mut self, now: Instant) -> Option<Instant> {
        if self.matcher.has_more() && *self.look.get_or_insert(now + MOMENT) <= now {
            self.matcher.examine();
        }
        if !self.matcher.has_more() {
            self.look = None;
        }
        self.look
    }

    /// When a match has to be announced. None if it has been announced.
    fn announcement_due(&mut self, now: Instant) -> Option<Instant> {
        let found = self.matcher.found().filter(|_| !self.announced)?;
        let rest = match found {
            Match::Expected(_) => Duration::ZERO,
            Match::Panic(_) if self.matcher.panic_has_ended() => Duration::ZERO,
            Match::Panic(_) => PANIC,
            Match::Forbidden(..) | Match::KernelFailure(_) => REST,
        };
        Some(*self.found.get_or_insert(now) + rest)
    }
}
