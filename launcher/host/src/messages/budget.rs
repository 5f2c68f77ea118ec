//! How many messages of one kind are printed: a burst in each period. A period that was not
//! long enough for all of them is followed by one of twice its length, up to a limit; after
//! an hour without any, the first one comes again.

use std::time::{Duration, Instant};

use devices::log_interval::LONGEST as QUIET;

/// More messages than this within a period are only counted.
const BURST: u32 = 20;
/// The first period.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// What may still be said in this period.
#[derive(Debug)]
pub(super) struct Budget {
    /// No period is longer.
    longest: Duration,
    period: Duration,
    since: Option<Instant>,
    /// The last message, printed or not.
    heard: Option<Instant>,
    spent: u32,
    pub(super) suppressed: u64,
}

/// What to do about one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spend {
    pub(super) allowed: bool,
    /// So many were not printed in the period before: to be said first.
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
