//! How often the log is told of what happens again and again: at first at once, then after
//! pauses that double, from a second to an hour. An hour in which it does not happen makes it
//! new. So nothing that a guest repeats fills a log, and nothing is forgotten for good.

use std::time::{Duration, Instant};

/// The first pause.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// No pause is longer; and after so much quiet, the next one is the first again.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The `target` of log lines that a guest causes as often as it likes. The launcher bounds
/// their number, and that of no others ([`log`]).
pub const BY_GUEST: &str = "guest";

/// The pause between two lines about the same thing.
#[derive(Debug, Default)]
pub struct Pause(Option<State>);

#[derive(Debug)]
struct State {
    /// When it happened last.
    heard: Instant,
    /// The pause, and its end.
    length: Duration,
    until: Instant,
}

impl Pause {
    /// It has happened. True if it is new: it is to be logged then, and a pause begins.
    pub fn is_new(&mut self, now: Instant) -> bool {
        match &mut self.0 {
            Some(state) if now.duration_since(state.heard) < LONGEST => {
                state.heard = now;
                false
            }
            _ => {
                let (length, until) = (SHORTEST, now + SHORTEST);
                self.0 = Some(State { heard: now, length, until });
                true
            }
        }
    }

    /// Whether the pause is over. A longer one begins then.
    pub fn ends(&mut self, now: Instant) -> bool {
        let Some(state) = self.0.as_mut().filter(|state| now >= state.until) else { return false };
        state.length = (state.length * 2).min(LONGEST);
        state.until = now + state.length;
        true
    }

    /// It has happened. True if that is to be logged.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.is_new(now) || self.ends(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is logged if it happens every `step` for `time`.
    fn logged(pause: &mut Pause, begin: Instant, step: Duration, time: Duration) -> usize {
        let times = (0..).map(|turn| begin + step * turn).take_while(|now| *now < begin + time);
        times.filter(|now| pause.is_due(*now)).count()
    }

    #[test]
    fn the_log_grows_by_a_line_an_hour_at_most_in_the_long_run() {
        let (mut pause, begin) = (Pause::default(), Instant::now());
        let day = 24 * LONGEST;
        // 1, 2, 4 ... 2048 seconds are the first 12 pauses, of 68 minutes; 22 hours follow.
        assert_eq!(logged(&mut pause, begin, Duration::from_secs(1), day), 13 + 22);
        assert_eq!(logged(&mut pause, begin + day, Duration::from_secs(1), day), 24);
    }

    #[test]
    fn an_hour_of_quiet_makes_it_new() {
        let (mut pause, begin) = (Pause::default(), Instant::now());
        assert!(logged(&mut pause, begin, SHORTEST, LONGEST) > 5);
        assert!(!pause.is_due(begin + LONGEST));
        // A line every hour is not quiet.
        assert!(!pause.is_new(begin + 2 * LONGEST - SHORTEST));
        assert!(pause.is_new(begin + 3 * LONGEST));
        assert!(!pause.is_due(begin + 3 * LONGEST));
        assert!(pause.is_due(begin + 3 * LONGEST + SHORTEST));
    }
}
