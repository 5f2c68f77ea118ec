//! Limits the messages of one kind: to a burst in each period. A period with more messages than the
//! burst is followed by one of twice its length, up to a limit. After an hour without any message,
//! periods have their first length again.

use std::time::{Duration, Instant};

use devices::log_interval::LONGEST as QUIET;

/// The number of messages that are printed within a period. Further ones are only counted.
const BURST: u32 = 20;
/// The length of the first period.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// The budget for messages of one kind.
#[derive(Debug)]
pub(super) struct Budget {
    /// The length of the longest period.
    longest: Duration,
    period: Duration,
    since: Option<Instant>,
    /// The time of the last message, printed or not.
    heard: Option<Instant>,
    spent: u32,
    pub(super) suppressed: u64,
}

/// The decision on one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spend {
    pub(super) allowed: bool,
    /// The number of messages that were not printed in the period before. It has to be printed
    /// first.
    pub(super) suppressed: Option<u64>,
}

impl Budget {
    pub(super) const fn new(longest: Duration) -> Self {
        Self { longest, period: PERIOD, since: None, heard: None, spent: 0, suppressed: 0 }
    }

    pub(super) fn spend(&mut self, now: Instant) -> Spend {
        let after = |time: Option<Instant>, pause| {
            time.is_none_or(|time| now.duration_since(time) >= pause)
        };
        let mut suppressed = None;
        if after(self.since, self.period) {
            suppressed = Some(self.suppressed).filter(|count| *count > 0);
            if after(self.heard, QUIET) {
                self.period = PERIOD;
            } else if suppressed.is_some() {
                self.period = (self.period * 2).min(self.longest);
            }
            (self.since, self.spent, self.suppressed) = (Some(now), 0, 0);
        }
        self.heard = Some(now);
        let allowed = self.spent < BURST;
        if allowed {
            self.spent += 1;
        } else {
            self.suppressed += 1;
        }
        Spend { allowed, suppressed }
    }
}
