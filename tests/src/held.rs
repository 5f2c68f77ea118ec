//! Descriptors and threads of a process. Tests compare them before and after something that must
//! not leak.

use crate::process::Process;
use crate::wait::{patience, until, within};

/// The descriptors and the threads of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What the open descriptors are, in order.
    pub descriptors: Vec<String>,
    /// The names of the threads, in order.
    pub threads: Vec<String>,
}

impl Held {
    /// What the process has at this moment.
    #[must_use]
    #[track_caller]
    pub fn now(process: Process) -> Self {
        Self { descriptors: process.descriptors(), threads: process.threads() }
    }

    /// What the process has at rest. A thread that has just been started has the name of its
    /// creator until it runs for the first time.
    #[must_use]
    #[track_caller]
    pub fn at_rest(process: Process) -> Self {
        until("each new thread has its own name", || {
            let held = Self::now(process);
            let mut names = held.threads.iter().zip(held.threads.iter().skip(1));
            names.all(|(one, next)| one != next).then_some(held)
        })
    }

    /// Waits until the process has the same descriptors and threads again.
    #[track_caller]
    pub fn assert_again(&self, process: Process) {
        let again = within(patience(), || (Self::now(process) == *self).then_some(()));
        assert!(again.is_some(), "the process holds {:?}, and held {self:?}", Self::now(process));
    }
}
