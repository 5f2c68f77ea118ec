//! The registers that hold the time, and how they write numbers: decimal or binary, of a clock
//! of 24 or 12 hours.

use devices::number::low_u8;

use super::calendar::{DAY, Date};

/// The registers that hold the time. The clock computes them while it runs.
pub(super) const TIME: [usize; 8] =
    [SECONDS, MINUTES, HOURS, WEEKDAY, DAY_OF_MONTH, MONTH, YEAR, CENTURY];
pub(super) const SECONDS: usize = 0;
pub(super) const MINUTES: usize = 2;
pub(super) const HOURS: usize = 4;
pub(super) const WEEKDAY: usize = 6;
pub(super) const DAY_OF_MONTH: usize = 7;
pub(super) const MONTH: usize = 8;
pub(super) const YEAR: usize = 9;
/// The register of the century. The MC146818 has none: PCs keep it in the clock's memory, and the
/// FADT has its index.
pub(crate) const CENTURY: usize = 0x32;

/// The bit of a 12-hour clock's hours that means "p.m.".
const AFTERNOON: u8 = 0x80;

/// How the registers write numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberFormat {
    pub(super) is_binary: bool,
    pub(super) is_24_hours: bool,
}

impl NumberFormat {
    /// The contents of a register of [`TIME`] at the second `now` since 1970.
    pub(super) fn shown(self, index: usize, now: i64) -> u8 {
        let (days, second) = (now.div_euclid(DAY), now.rem_euclid(DAY));
        let date = Date::of(days);
        self.encoded(match index {
            SECONDS => second % 60,
            MINUTES => second / 60 % 60,
            HOURS => return self.encoded_hour(second / 3600),
            // Sunday is 1; 1970 began on a Thursday.
            WEEKDAY => (days + 4).rem_euclid(7) + 1,
            DAY_OF_MONTH => date.day,
            MONTH => date.month,
            YEAR => date.year.rem_euclid(100),
            _ => date.year.div_euclid(100),
        })
    }

    fn encoded(self, value: i64) -> u8 {
        let value = low_u8(value.cast_unsigned());
        if self.is_binary { value } else { ((value / 10) << 4) | (value % 10) }
    }

    fn encoded_hour(self, hour: i64) -> u8 {
        if self.is_24_hours {
            return self.encoded(hour);
        }
        let of_twelve = self.encoded((hour + 11) % 12 + 1);
        of_twelve | if hour >= 12 { AFTERNOON } else { 0 }
    }

    pub(super) fn decoded(self, value: u8) -> Option<i64> {
        if self.is_binary {
            return Some(value.into());
        }
        let (tens, ones) = (value >> 4, value & 0xf);
        (tens < 10 && ones < 10).then(|| (tens * 10 + ones).into())
    }

    pub(super) fn decoded_hour(self, value: u8) -> Option<i64> {
        if self.is_24_hours {
            return self.decoded(value);
        }
        let of_twelve = self.decoded(value & !AFTERNOON).filter(|hour| (1..=12).contains(hour))?;
        Some(of_twelve % 12 + if value & AFTERNOON != 0 { 12 } else { 0 })
    }
}
