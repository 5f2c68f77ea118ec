//! The 128 registers of a PC's real-time clock (Motorola MC146818), as far as software sees
//! them: the time, an alarm, three interrupts, and memory. The registers hold no time of their own:
//! while the clock runs, a read computes the time from the host's.

use anyhow::{Result, ensure};
use devices::number::{low_u32, low_u64};
use serde::{Deserialize, Serialize};

use super::alarm::Alarm;
use super::bits::{
    A, A_RESET, ALARM, ANY, B, B_RESET, BINARY, C, D, DAY_ALARM, DIVIDER, DIVIDER_RESET,
    DIVIDER_RUNS, HOURS_24, HOURS_ALARM, INTERRUPT, MINUTES_ALARM, MONTH_ALARM, PERIODIC, RATE,
    SECONDS_ALARM, SET, UPDATE, UPDATE_IN_PROGRESS, VALID,
};
use super::calendar::{DAY, Date};
use super::fields::{
    CENTURY, DAY_OF_MONTH, HOURS, MINUTES, MONTH, NumberFormat, SECONDS, TIME, YEAR,
};
use crate::raw::Raw;

/// Nanoseconds since 1970-01-01. No date that the registers can show overflows it.
pub(super) type Nanos = i128;
pub(super) const SECOND: Nanos = 1_000_000_000;

/// How long before an update the clock announces it.
const ANNOUNCED: Nanos = 244_000;
/// The time between a divider's release from reset and the first update.
const FIRST_UPDATE: Nanos = SECOND / 2;

/// The most seconds before or after 1970 in a snapshot: more than the registers can show, and few
/// enough for the calendar.
const LONGEST_SAVED: u64 = 40_000 * 366 * 86_400;

/// The source of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeSource {
    /// The clock runs, `ahead` of the host's.
    Running { ahead: Nanos },
    /// The clock is stopped, and the registers have the time. `fraction` is the part of the second
    /// that has passed.
    Stopped { fraction: Nanos },
}

/// The events that an access or the passing of time causes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Events {
    /// The interrupt line rises.
    pub(super) interrupt: bool,
    /// The alarm went off, and its interrupt is enabled.
    pub(super) alarm: bool,
}

/// The whole state of the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    bytes: [u8; 128],
    time: TimeSource,
    /// The guest's time up to which the flags in C are complete.
    seen: Nanos,
}

/// The state of the clock in a snapshot. Times relate to the clock of whatever host restores it: a
/// clock that runs continues to show the host's time, or to be ahead of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedRegisters {
    bytes: Raw<[u8; 128]>,
    time: SavedTime,
    /// The guest's time up to which the flags in C are complete.
    seen: SavedNanos,
}

/// The source of the time in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum SavedTime {
    /// The clock runs, ahead of the host's.
    Running { ahead: SavedNanos },
    /// The clock is stopped after this part of the second.
    Stopped { fraction: SavedNanos },
}

/// A number of nanoseconds, positive or negative, in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedNanos {
    seconds: i64,
    nanoseconds: u32,
}

impl SavedNanos {
    fn of(time: Nanos) -> Self {
        let nanoseconds = low_u32(time.rem_euclid(SECOND).cast_unsigned());
        Self { seconds: seconds(time), nanoseconds }
    }

    /// The number, if it is one that a clock can show.
    fn checked(self) -> Result<Nanos> {
        let Self { seconds, nanoseconds } = self;
        let is_valid = seconds.unsigned_abs() <= LONGEST_SAVED && Nanos::from(nanoseconds) < SECOND;
        ensure!(is_valid, "a time of {seconds} s and {nanoseconds} ns is not valid");
        Ok(Nanos::from(seconds) * SECOND + Nanos::from(nanoseconds))
    }
}

impl State {
    /// The state, for a snapshot.
    pub(super) fn saved(&self) -> SavedRegisters {
        let Self { bytes, time, seen } = self;
        let time = match *time {
            TimeSource::Running { ahead } => SavedTime::Running { ahead: SavedNanos::of(ahead) },
            TimeSource::Stopped { fraction } => {
                SavedTime::Stopped { fraction: SavedNanos::of(fraction) }
            }
        };
        SavedRegisters { bytes: Raw(*bytes), time, seen: SavedNanos::of(*seen) }
    }

    /// The state from a snapshot.
    ///
    /// # Errors
    /// When a time is not one that the clock can show.
    pub(super) fn restored(saved: &SavedRegisters) -> Result<Self> {
        let SavedRegisters { bytes, time, seen } = saved;
        let time = match time {
            SavedTime::Running { ahead } => TimeSource::Running { ahead: ahead.checked()? },
            SavedTime::Stopped { fraction } => {
                let fraction = fraction.checked()?;
                ensure!((0..SECOND).contains(&fraction), "a part of a second is longer than it");
                TimeSource::Stopped { fraction }
            }
        };
        Ok(Self { bytes: bytes.0, time, seen: seen.checked()? })
    }

    /// A clock that shows the host's time.
    pub(super) fn new(host: Nanos) -> Self {
        let mut state =
            Self { bytes: [0; 128], time: TimeSource::Running { ahead: 0 }, seen: host };
        state.put(A, A_RESET);
        state.put(B, B_RESET);
        state
    }

    fn get(&self, index: usize) -> u8 {
        self.bytes.get(index).copied().unwrap_or(0)
    }

    fn put(&mut self, index: usize, value: u8) {
        if let Some(byte) = self.bytes.get_mut(index) {
            *byte = value;
        }
    }

    /// Read a register for the guest, when the host's time is `host`.
    pub(super) fn read(&mut self, index: usize, host: Nanos) -> (u8, Events) {
        let none = Events::default();
        match (index, self.time) {
            (C, _) => {
                let events = self.advance(host);
                let flags = self.get(C);
                self.put(C, 0);
                (flags, events)
            }
            (D, _) => (VALID, none),
            (A, TimeSource::Running { ahead }) => {
                let updates = (host + ahead).rem_euclid(SECOND) >= SECOND - ANNOUNCED;
                (self.get(A) | if updates { UPDATE_IN_PROGRESS } else { 0 }, none)
            }
            (index, TimeSource::Running { ahead }) if TIME.contains(&index) => {
                (self.format().shown(index, seconds(host + ahead)), none)
            }
            _ => (self.get(index), none),
        }
    }

    /// Write a register for the guest, when the host's time is `host`.
    pub(super) fn write(&mut self, index: usize, value: u8, host: Nanos) -> Events {
        let mut events = self.advance(host);
        match index {
            C | D => {}
            A => self.switch(A, value & !UPDATE_IN_PROGRESS, host),
            // A driver that sets the time wants no interrupt from updates.
            B if value & SET != 0 => self.switch(B, value & !UPDATE, host),
            B => self.switch(B, value, host),
            index if TIME.contains(&index) => self.set_time(index, value, host),
            index => self.put(index, value),
        }
        // An interrupt that was just enabled may already have come.
        let rest = self.interrupt(0);
        events.interrupt |= rest.interrupt;
        events
    }

    /// Find the events since the last call.
    pub(super) fn advance(&mut self, host: Nanos) -> Events {
        let TimeSource::Running { ahead } = self.time else { return Events::default() };
        let (seen, now) = (self.seen, host + ahead);
        self.seen = now;
        // The host's clock may have been set back.
        if now <= seen {
            return Events::default();
        }
        let mut flags = 0;
        if seconds(now) > seconds(seen) {
            flags |= UPDATE;
            let alarm = self.alarm().after(seconds(seen));
            flags |= if alarm.is_some_and(|alarm| alarm <= seconds(now)) { ALARM } else { 0 };
        }
        let periods = |time: Nanos| self.period().map(|period| time.div_euclid(period));
        if periods(now) > periods(seen) {
            flags |= PERIODIC;
        }
        self.interrupt(flags)
    }

    /// Set flags in register C. Returns the events that this causes.
    fn interrupt(&mut self, flags: u8) -> Events {
        let (before, enabled) = (self.get(C), self.get(B));
        let after = (before | flags) & (UPDATE | ALARM | PERIODIC);
        let raised = after & enabled != 0;
        self.put(C, after | if raised { INTERRUPT } else { 0 });
        Events { interrupt: raised && before & INTERRUPT == 0, alarm: flags & enabled & ALARM != 0 }
    }

    /// The host's time at which [`Self::advance`] would raise the interrupt, if nothing changes.
    pub(super) fn deadline(&self) -> Option<Nanos> {
        let TimeSource::Running { ahead } = self.time else { return None };
        let (enabled, now) = (self.get(B), self.seen);
        if self.get(C) & INTERRUPT != 0 {
            return None;
        }
        let enabled = |flag: u8| (enabled & flag != 0).then_some(());
        let update = enabled(UPDATE).map(|()| seconds(now) + 1);
        let alarm = enabled(ALARM).and_then(|()| self.alarm().after(seconds(now)));
        let periodic = enabled(PERIODIC).and_then(|()| self.period());
        let periodic = periodic.map(|period| (now.div_euclid(period) + 1) * period);
        let seconds = [update, alarm].into_iter().flatten().map(|at| Nanos::from(at) * SECOND);
        seconds.chain(periodic).min().map(|at| at - ahead)
    }

    /// The time between two periodic interrupts (data sheet, table 5). `None` if the rate is 0.
    fn period(&self) -> Option<Nanos> {
        let rate = match self.get(A) & RATE {
            0 => return None,
            // The rates 1 and 2 mean what 8 and 9 mean.
            rate @ 1..=2 => rate + 7,
            rate => rate,
        };
        Some((SECOND << (rate - 1)) / 32_768)
    }

    /// Write register A or B, which may stop or start the clock.
    fn switch(&mut self, index: usize, value: u8, host: Nanos) {
        let runs = {
            let (a, b) = if index == A { (value, self.get(B)) } else { (self.get(A), value) };
            a & DIVIDER == DIVIDER_RUNS && b & SET == 0
        };
        if let (TimeSource::Running { .. }, false) = (self.time, runs) {
            self.stop(host);
        }
        self.put(index, value);
        match &mut self.time {
            TimeSource::Stopped { fraction } if !runs => {
                if index == A && value & DIVIDER_RESET == DIVIDER_RESET {
                    *fraction = FIRST_UPDATE;
                }
            }
            TimeSource::Stopped { .. } => self.start(host),
            TimeSource::Running { .. } => {}
        }
    }

    /// Write a register of the time.
    fn set_time(&mut self, index: usize, value: u8, host: Nanos) {
        let runs = matches!(self.time, TimeSource::Running { .. });
        if runs {
            self.stop(host);
        }
        self.put(index, value);
        if runs {
            self.start(host);
        }
    }

    /// Stop the clock: the time moves from the host's clock to the registers.
    fn stop(&mut self, host: Nanos) {
        let TimeSource::Running { ahead } = self.time else { return };
        let now = host + ahead;
        for index in TIME {
            self.put(index, self.format().shown(index, seconds(now)));
        }
        self.time = TimeSource::Stopped { fraction: now.rem_euclid(SECOND) };
    }

    /// Start the clock: the time moves from the registers to the host's clock. If the registers
    /// hold no valid time, the clock shows the host's.
    fn start(&mut self, host: Nanos) {
        let TimeSource::Stopped { fraction } = self.time else { return };
        let now = self.set_to().map_or(host, |now| Nanos::from(now) * SECOND + fraction);
        self.time = TimeSource::Running { ahead: now - host };
        self.seen = now;
    }

    /// The second since 1970 that the registers show. `None` if they show no valid time.
    fn set_to(&self) -> Option<i64> {
        let format = self.format();
        let field = |index| format.decoded(self.get(index));
        let (second, minute) = (field(SECONDS)?, field(MINUTES)?);
        let hour = format.decoded_hour(self.get(HOURS))?;
        let date = Date {
            year: field(CENTURY)? * 100 + field(YEAR)?,
            month: field(MONTH)?,
            day: field(DAY_OF_MONTH)?,
        };
        let days = date.days();
        let is_time = second < 60 && minute < 60 && hour < 24;
        // The calendar turns 31 February into another date.
        let is_date = (1..=12).contains(&date.month) && Date::of(days) == date;
        (is_time && is_date).then_some(days * DAY + hour * 3600 + minute * 60 + second)
    }

    /// The alarm registers, decoded. A field that is not a number matches no time at all.
    fn alarm(&self) -> Alarm {
        const NEVER: i64 = i64::MAX;
        let format = self.format();
        let given = |index| Some(self.get(index)).filter(|value| *value < ANY);
        let field = |index| given(index).map(|value| format.decoded(value).unwrap_or(NEVER));
        let dates = |index| field(index).filter(|value| *value != 0);
        Alarm {
            second: field(SECONDS_ALARM),
            minute: field(MINUTES_ALARM),
            hour: given(HOURS_ALARM).map(|hour| format.decoded_hour(hour).unwrap_or(NEVER)),
            day: dates(DAY_ALARM),
            month: dates(MONTH_ALARM),
        }
    }

    fn format(&self) -> NumberFormat {
        let b = self.get(B);
        NumberFormat { is_binary: b & BINARY != 0, is_24_hours: b & HOURS_24 != 0 }
    }
}

/// The second of a time. Exact for all times that a clock shows.
fn seconds(time: Nanos) -> i64 {
    let seconds = time.div_euclid(SECOND).clamp(i64::MIN.into(), i64::MAX.into());
    low_u64(seconds.cast_unsigned()).cast_signed()
}
