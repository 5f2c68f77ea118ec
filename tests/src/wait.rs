//! Waiting for what a test is about, and failing when it does not come. There is
//! no fixed sleep in a test where something can be waited for.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::environment;

/// How long anything may take that happens by itself. Generous: it is only
/// spent by a test that fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The longest wait, on this machine.
#[must_use]
pub fn patience() -> Duration {
    PATIENCE.mul_f64(environment::patience())
}

/// Wait until `look` finds something.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(patience(), look).or_fail(&format!("waiting until {what}"))
}

/// Wait until `look` finds something, or it is late.
pub fn within<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(LOOK);
    }
}

/// For what a test cannot go on without.
pub trait OrFail<T> {
    /// The value, or the end of the test: `doing` says at what.
    fn or_fail(self, doing: &str) -> T;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    #[track_caller]
    fn or_fail(self, doing: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("{doing}: {error}"),
        }
    }
}

impl<T> OrFail<T> for Option<T> {
    #[track_caller]
    fn or_fail(self, doing: &str) -> T {
        match self {
            Some(value) => value,
            None => panic!("{doing}: in vain"),
        }
    }
}
