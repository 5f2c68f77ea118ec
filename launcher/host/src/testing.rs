//! Waiting with patience for slow machines, for the tests of this crate and of crates that use it;
//! and, for this crate's tests alone, a launcher without a guest and terminals to start it on.

#[cfg(test)]
#[expect(unsafe_code, reason = "starts before the test harness has threads")]
mod fake_launcher;
#[cfg(test)]
mod pty;
#[cfg(test)]
mod running;
#[path = "../../../tests/src/skip.rs"]
pub mod skip;

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

#[cfg(test)]
pub(crate) use fake_launcher::{COOKED, SWITCH};
#[cfg(test)]
pub(crate) use pty::Pty;
#[cfg(test)]
pub(crate) use running::{Running, exists, fake, fake_in_session, in_session, is_full};

#[cfg(test)]
impl crate::exit::End for crate::exit::Interruption {}

/// The time after which a wait of a test fails.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Wait until a condition is true, and fail if it is not after [`LONG`].
#[track_caller]
pub fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < LONG, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Run an action that may hang if the tested code is broken, and fail if it hangs.
#[track_caller]
#[expect(clippy::unwrap_used, reason = "it fails a test")]
pub fn in_time<T: Send + 'static>(what: &str, action: impl FnOnce() -> T + Send + 'static) -> T {
    let doing = devices::threads::start("in time", action).unwrap();
    until(what, || doing.is_finished());
    doing.join().unwrap()
}

/// Whether a thread of this process sleeps in a system call.
pub fn is_asleep(thread: &str) -> bool {
    sleeps_in(Path::new("/proc/self"), thread)
}

fn sleeps_in(process: &Path, thread: &str) -> bool {
    let tasks = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let mut stats = tasks.flat_map(|task| fs::read_to_string(task.path().join("stat")));
    stats.any(|stat| stat.contains(&format!("({thread}) S")))
}
