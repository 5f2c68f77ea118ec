//! The threads of this process, which also runs all other tests.

use std::fs;

use super::machine::until;
use crate::error::GuestError;
use crate::queue_thread::Owner;

/// An owner for threads that report nothing.
#[derive(Debug)]
pub struct NoOwner;

impl Owner for NoOwner {
    fn driver_ready(&self) {}

    fn needs_reset(&self, _: &str, error: &GuestError) {
        panic!("{error}");
    }

    fn failed(&self, _: &str, why: &str) {
        panic!("{why}");
    }
}

/// The names of the threads that begin with `prefix`.
pub fn threads(prefix: &str) -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let mut ours: Vec<_> = names.map(|name| name.trim_end().to_string()).collect();
    ours.retain(|name| name.starts_with(prefix));
    ours.sort();
    ours
}

/// Wait for the end of those threads: they have been joined, and soon leave /proc.
pub fn no_threads(prefix: &str) {
    until("the end of the threads", || threads(prefix).is_empty());
}

/// How often the thread `name` has gone to sleep so far.
pub fn times_slept(name: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let mut states =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let state = states.find(|state| state.starts_with(&format!("Name:\t{name}\n"))).unwrap();
    let mut lines = state.lines();
    let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

/// Wait until the thread `name` sleeps in a system call.
pub fn until_asleep(name: &str) {
    let asleep = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let mut stats =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
        stats.any(|stat| stat.contains(&format!("({name}) S")))
    };
    until("the thread's sleep", asleep);
}
