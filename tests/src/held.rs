//! What a process holds on to. Tests compare it before and after what must leave
//! nothing.

use crate::process::Process;
use crate::wait::{patience, until, within};

/// Descriptors and threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What the open descriptors are, in order.
    pub descriptors: Vec<String>,
    /// The names of the threads, in order.
    pub threads: Vec<String>,
}

impl Held {
    /// What it holds at this moment.
    #[must_use]
    #[track_caller]
    pub fn now(process: Process) -> Self {
        Self { descriptors: process.descriptors(), threads: process.threads() }
    }

    /// What it holds at rest. A thread that was started a moment ago has the name of the
    /// one that started it, until it runs for the first time.
    #[must_use]
    #[track_caller]
    pub fn at_rest(process: Process) -> Self {
        until("each thread has a name of its own", || {
            let held = Self::now(process);
            let mut names = held.threads.iter().zip(held.threads.iter().skip(1));
            names.all(|(one, next)| one != next).then_some(held)
        })
    }

    /// Wait until the process holds this again.
    #[track_caller]
    pub fn assert_again(&self, process: Process) {
        let again = within(patience(), || (Self::now(process) == *self).then_some(()));
        assert!(again.is_some(), "it holds {:?}, where it held {self:?}", Self::now(process));
    }
}
