//! When an alarm is due: in the next second whose fields match the alarm registers.

use super::calendar::{DAY, Date};

/// The number of days within which each combination of day and month comes: 29 February skips 8
/// years where a century begins.
const LONGEST: i64 = 9 * 366;

/// The alarm registers, decoded. `None` matches any value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Alarm {
    pub(super) second: Option<i64>,
    pub(super) minute: Option<i64>,
    pub(super) hour: Option<i64>,
    pub(super) day: Option<i64>,
    pub(super) month: Option<i64>,
}

impl Alarm {
    /// The first second after `now` (both since 1970) that matches, if one ever does.
    pub(super) fn after(&self, now: i64) -> Option<i64> {
        if !self.is_possible() {
            return None;
        }
        let (today, next) = ((now + 1).div_euclid(DAY), (now + 1).rem_euclid(DAY));
        (today..today + LONGEST).filter(|day| self.has_day(*day)).find_map(|day| {
            let from = if day == today { next } else { 0 };
            self.in_day(from).map(|second| day * DAY + second)
        })
    }

    /// Whether a clock ever shows the time of the alarm: registers may hold 24 o'clock.
    fn is_possible(&self) -> bool {
        let within = |field: Option<i64>, limit| field.is_none_or(|value| value < limit);
        within(self.second, 60) && within(self.minute, 60) && within(self.hour, 24)
    }

    fn has_day(&self, days: i64) -> bool {
        // Most alarms have neither day nor month, and need no date.
        if self.day.is_none() && self.month.is_none() {
            return true;
        }
        let date = Date::of(days);
        matches(self.day, date.day) && matches(self.month, date.month)
    }

    /// The first second of a day, from second `from` on, that matches.
    fn in_day(&self, from: i64) -> Option<i64> {
        let hours = (0..24).filter(|hour| matches(self.hour, *hour));
        let minutes = hours.filter(|hour| (hour + 1) * 3600 > from).flat_map(|hour| {
            (0..60).filter(|m| matches(self.minute, *m)).map(move |m| hour * 60 + m)
        });
        let mut seconds = minutes.filter(|minute| (minute + 1) * 60 > from).flat_map(|minute| {
            (0..60).filter(|s| matches(self.second, *s)).map(move |s| minute * 60 + s)
        });
        seconds.find(|second| *second >= from)
    }
}

fn matches(field: Option<i64>, value: i64) -> bool {
    field.is_none_or(|field| field == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 20_787 * DAY + 12 * 3600; // 2026-11-30

    fn alarm(hour: Option<i64>, minute: Option<i64>, second: Option<i64>) -> Alarm {
        Alarm { hour, minute, second, ..Alarm::default() }
    }

    #[test]
    fn an_alarm_is_due_after_the_present_second() {
        assert_eq!(alarm(Some(12), Some(0), Some(0)).after(NOON), Some(NOON + DAY));
        assert_eq!(alarm(Some(12), Some(0), Some(0)).after(NOON - 1), Some(NOON));
        assert_eq!(alarm(Some(12), Some(0), Some(5)).after(NOON), Some(NOON + 5));
        assert_eq!(alarm(Some(11), Some(59), Some(59)).after(NOON), Some(NOON + DAY - 1));
    }

    #[test]
    fn a_field_that_is_left_open_matches_any_value() {
        assert_eq!(alarm(None, None, None).after(NOON), Some(NOON + 1));
        assert_eq!(alarm(None, None, Some(30)).after(NOON + 31), Some(NOON + 90));
        assert_eq!(alarm(None, Some(0), None).after(NOON + 59), Some(NOON + 3600));
        let midnight = alarm(Some(0), None, None).after(NOON);
        assert_eq!(midnight, Some(NOON + DAY / 2));
    }

    #[test]
    fn an_alarm_may_have_a_day_and_a_month() {
        let day = |month, day| Alarm { month, day, ..alarm(Some(0), Some(0), Some(0)) };
        let at = |year, month, day| Some(Date { year, month, day }.days() * DAY);
        assert_eq!(day(None, Some(2)).after(NOON), at(2026, 12, 2));
        assert_eq!(day(Some(2), Some(29)).after(NOON), at(2028, 2, 29));
        assert_eq!(day(Some(11), Some(30)).after(NOON), at(2027, 11, 30));
    }

    #[test]
    fn an_alarm_at_an_impossible_time_is_never_due() {
        assert_eq!(alarm(Some(24), None, None).after(NOON), None);
        assert_eq!(alarm(None, None, Some(75)).after(NOON), None);
        let never = Alarm { month: Some(2), day: Some(30), ..Alarm::default() };
        assert_eq!(never.after(NOON), None);
    }
}
