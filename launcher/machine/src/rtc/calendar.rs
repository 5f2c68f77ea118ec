//! Days and dates, in the calendar that all computers use (proleptic Gregorian, UTC).

/// The seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// A date of the proleptic Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// The month, from 1 to 12.
    pub(super) month: i64,
    /// The day of the month, from 1 to 31.
    pub(super) day: i64,
}

/// The days of an era: of 400 years. All eras have the same length. The years are counted from
/// March here, so that the leap day is the last of a year: a month's first day is then a linear
/// function of the month.
const ERA: i64 = 146_097;
/// The days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

impl Date {
    /// The date that is `days` days after 1970-01-01.
    pub(super) fn of(days: i64) -> Self {
        let days = days + EPOCH;
        let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        Self { year: year + era * 400 + later, month, day }
    }

    /// The number of days from 1970-01-01 to this date.
    pub(super) fn days(self) -> i64 {
        let (month, year) = if self.month > 2 {
            (self.month - 3, self.year)
        } else {
            (self.month + 9, self.year - 1)
        };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * month + 2) / 5 + self.day - 1;
        era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days_have_their_dates() {
        let date = |year, month, day| Date { year, month, day };
        for (days, date) in [
            (0, date(1970, 1, 1)),
            (11_016, date(2000, 2, 29)),
            (11_017, date(2000, 3, 1)),
            (20_787, date(2026, 11, 30)),
            (-1, date(1969, 12, 31)),
            (2_932_896, date(9999, 12, 31)),
        ] {
            assert_eq!(Date::of(days), date);
            assert_eq!(date.days(), days);
        }
    }

    #[test]
    fn each_day_follows_the_one_before() {
        for days in -800_000..800_000 {
            let date = Date::of(days);
            assert_eq!(date.days(), days, "{date:?}");
            assert!((1..=12).contains(&date.month) && (1..=31).contains(&date.day), "{date:?}");
        }
    }
}
