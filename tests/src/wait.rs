//! Waits for a condition, and fails if it does not come true. Tests wait for conditions and do not
//! sleep for a fixed time.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::environment;

/// How long anything may take that happens without a test's help. The limit is generous, because
/// only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The interval in which a condition is checked.
const LOOK: Duration = Duration::from_millis(10);

/// The longest wait on this machine.
#[must_use]
pub fn patience() -> Duration {
    PATIENCE.mul_f64(environment::patience())
}

/// Waits until `look` returns a value, and fails if that takes too long. `what` names the condition
/// in the message.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(patience(), look).or_fail(&format!("waiting until {what}"))
}

/// Waits until `look` returns a value, up to `time`.
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

/// Unwraps a value that a test cannot do without.
pub trait OrFail<T> {
    /// Returns the value, or fails the test. `doing` says in the message what failed.
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
            None => panic!("{doing}: failed"),
        }
    }
}
