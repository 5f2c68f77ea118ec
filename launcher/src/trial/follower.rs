//! The thread that follows what the guest prints on hvc0: a reader of its output like
//! any other, at its own pace, so that nothing waits for it. It gives the output to
//! [`super::matcher`], knows when to look at a line that has no end, and announces that
//! something was found; [`super::verdict`] has that in words.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use devices::log_interval::BY_GUEST;
use devices::mutex::{lock, wait_timeout};
use devices::threads;
use host::exit::Exit;
use host::output::{Output, Reader, Role, Taken};

use super::matcher::{Found, Matcher};
use crate::ending::Ending;

/// How long a line may be without its end until it is looked at: a prompt.
const MOMENT: Duration = Duration::from_millis(100);

/// How long a guest goes on after a failure, so that the log has what it says of it.
const REST: Duration = Duration::from_secs(1);
/// And after a panic that never comes to its end.
const PANIC: Duration = Duration::from_secs(3);

/// How long the end of a guest waits for the last of its output to be looked at. It is a
/// megabyte at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// What follows the output. It leaves when the output is finished.
#[derive(Debug)]
pub(super) struct Follower {
    output: Output,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Main sleeps here, at a guest's end.
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    matcher: Matcher,
    /// So far the output has been looked at.
    at: u64,
    /// So much of it never was.
    lost: u64,
    /// When an unfinished line is to be looked at.
    look: Option<Instant>,
    /// When something was found.
    found: Option<Instant>,
    announced: bool,
}

/// How far it has come, at a guest's end.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) found: Option<Found>,
    /// When.
    pub(super) at: Instant,
    /// The pattern that was still waited for.
    pub(super) awaited: Option<String>,
    /// Bytes that were never looked at.
    pub(super) lost: u64,
}

impl Follower {
    /// Follow it from the beginning.
    ///
    /// # Errors
    /// When the host has no thread to spare.
    pub(super) fn start(
        output: &Output,
        exit: &Arc<Exit<Ending>>,
        matcher: Matcher,
    ) -> io::Result<Self> {
        let state = State { matcher, at: 0, lost: 0, look: None, found: None, announced: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), moved: Condvar::new() });
        let (ours, exit) = (Arc::clone(&shared), Arc::clone(exit));
        let reader = output.reader(Role::Witness);
        threads::start("con0-trial", move || follow(reader, &ours, &exit))?;
        Ok(Self { output: output.clone(), shared })
    }

    /// The pattern that is waited for next.
    pub(super) fn awaited(&self) -> Option<String> {
        self.shared.lock().matcher.awaited().map(str::to_string)
    }

    /// The guest prints no more, as it has ended: wait until all is looked at. To be
    /// called when its threads have ended.
    pub(super) fn settle(&self) -> Settled {
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
        Settled {
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
        // In this order: what is lost after that is counted the next time.
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
        let look = state.look(now);
        let due = state.due(now);
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
    /// Look at a line that has been without its end for a moment; else, until when to wait
    /// for that.
    fn look(&mut self, now: Instant) -> Option<Instant> {
        if self.matcher.has_more() && *self.look.get_or_insert(now + MOMENT) <= now {
            self.matcher.look();
        }
        if !self.matcher.has_more() {
            self.look = None;
        }
        self.look
    }

    /// When what was found is to be announced, unless it has been.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let found = self.matcher.found().filter(|_| !self.announced)?;
        let rest = match found {
            Found::Seen(_) => Duration::ZERO,
            Found::Panic(_) if self.matcher.is_told() => Duration::ZERO,
            Found::Panic(_) => PANIC,
            Found::Unwanted(..) | Found::Failure(_) => REST,
        };
        Some(*self.found.get_or_insert(now) + rest)
    }
}
