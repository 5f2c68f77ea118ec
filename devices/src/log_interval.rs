//! Limits how often a repeated event is logged: the first time at once, then after intervals
//! that double from a second to an hour. After an hour without the event, its next occurrence is
//! new again. So a guest that repeats an event cannot fill a log, and the log still shows that
//! the event continues.

use std::time::{Duration, Instant};

/// The first interval.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// The longest interval. After this time without the event, the first interval applies again.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The `target` of log lines that a guest can cause as often as it likes ([`log`]). The
/// launcher limits the number of these lines, and of no others.
pub const BY_GUEST: &str = "guest";

/// The interval between two log lines about the same event.
#[derive(Debug, Default)]
pub struct LogInterval(Option<Interval>);

#[derive(Debug)]
struct Interval {
    /// When the event happened last.
    heard: Instant,
    /// The interval, and its end.
    length: Duration,
    until: Instant,
}

impl LogInterval {
    /// Record that the event has happened. Returns true if it is new: the caller logs it, and the
    /// first interval begins.
    pub fn is_new(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            Some(interval) if now.duration_since(interval.heard) < LONGEST => {
                interval.heard = now;
                false
            }
            _ => {
                let (length, until) = (SHORTEST, now + SHORTEST);
                self.0 = Some(Interval { heard: now, length, until });
                true
            }
        }
    }

    /// Whether the interval is over. If so, a longer one begins.
    pub fn ends(&mut self, now: Instant) -> bool {
        let Some(interval) = self.0.as_mut().filter(|interval| now >= interval.until) else {
            return false;
        };
        interval.length = (interval.length * 2).min(LONGEST);
        interval.until = now + interval.length;
        true
    }

    /// Record that the event has happened. Returns true if it is to be logged.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.is_new(now) || self.ends(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is logged if it happens every `step` for `time`.
    fn logged(interval: &mut LogInterval, begin: Instant, step: Duration, time: Duration) -> usize {
        let times = (0..).map(|turn| begin + step * turn).take_while(|now| *now < begin + time);
        times.filter(|now| interval.is_due(*now)).count()
    }

    #[test]
    fn the_log_grows_by_a_line_an_hour_at_most_in_the_long_run() {
        let (mut interval, begin) = (LogInterval::default(), Instant::now());
        let day = 24 * LONGEST;
        // 1, 2, 4 ... 2048 seconds are the first 12 intervals, of 68 minutes; 22 hours follow.
        assert_eq!(logged(&mut interval, begin, Duration::from_secs(1), day), 13 + 22);
        assert_eq!(logged(&mut interval, begin + day, Duration::from_secs(1), day), 24);
    }

    #[test]
    fn an_hour_of_quiet_makes_it_new() {
        let (mut interval, begin) = (LogInterval::default(), Instant::now());
        assert!(logged(&mut interval, begin, SHORTEST, LONGEST) > 5);
        assert!(!interval.is_due(begin + LONGEST));
        // A line every hour is not quiet.
        assert!(!interval.is_new(begin + 2 * LONGEST - SHORTEST));
        assert!(interval.is_new(begin + 3 * LONGEST));
        assert!(!interval.is_due(begin + 3 * LONGEST));
        assert!(interval.is_due(begin + 3 * LONGEST + SHORTEST));
    }
}
