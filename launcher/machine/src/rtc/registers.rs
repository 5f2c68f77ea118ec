//! The 128 registers of a PC's real-time clock (Motorola MC146818), as far as software sees
//! them: the time, an alarm, three interrupts, and memory. They hold no time of their own:
//! while the clock runs, the time is computed from the host's whenever a register is read.

use super::alarm::Alarm;
use super::calendar::{DAY, Date};
use super::fields::{
    CENTURY, DAY_OF_MONTH, HOURS, MINUTES, MONTH, NumberFormat, SECONDS, TIME, YEAR,
};

/// Nanoseconds since 1970-01-01. No date that the registers can show overflows it.
pub(super) type Nanos = i128;
pub(super) const SECOND: Nanos = 1_000_000_000;

const SECONDS_ALARM: usize = 1;
const MINUTES_ALARM: usize = 3;
const HOURS_ALARM: usize = 5;
const A: usize = 10;
const B: usize = 11;
const C: usize = 12;
const D: usize = 13;

/// Alarm registers that no MC146818 has, and PCs have in its memory. The FADT tells where.
pub(crate) const DAY_ALARM: usize = 0x7d;
pub(crate) const MONTH_ALARM: usize = 0x7e;

/// In A: an update is in progress; the divider's setting; in A and B: what they are at reset.
const UPDATE_IN_PROGRESS: u8 = 0x80;
const DIVIDER: u8 = 0x70;
const DIVIDER_RUNS: u8 = 0x20;
/// These bits of a divider that is held in reset are both set.
const DIVIDER_RESET: u8 = 0x60;
const RATE: u8 = 0x0f;
const A_RESET: u8 = DIVIDER_RUNS | 6;
const B_RESET: u8 = HOURS_24;

/// In B: the time is being set; interrupts; binary numbers instead of decimal; 24 hours.
const SET: u8 = 0x80;
const UPDATE: u8 = 0x10;
const ALARM: u8 = 0x20;
const PERIODIC: u8 = 0x40;
const BINARY: u8 = 0x04;
const HOURS_24: u8 = 0x02;

/// In C: one of the interrupts that are enabled has come.
const INTERRUPT: u8 = 0x80;
/// In D: the battery is good.
const VALID: u8 = 0x80;

/// From here on, an alarm register goes with any value.
const ANY: u8 = 0xc0;
/// An update is announced so long before.
const ANNOUNCED: Nanos = 244_000;
/// So long after a divider leaves its reset, the first update comes.
const FIRST_UPDATE: Nanos = SECOND / 2;

/// Where the time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeSource {
    /// From the host's clock, so far ahead of it.
    Running { ahead: Nanos },
    /// From the registers; so much of the second is over.
    Stopped { fraction: Nanos },
}

/// What becomes of an access.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Events {
    /// The interrupt line rises.
    pub(super) interrupt: bool,
    /// One that is enabled is the alarm.
    pub(super) alarm: bool,
}

/// All of the clock, as a snapshot has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    bytes: [u8; 128],
    time: TimeSource,
    /// The guest's time up to which the flags in C are complete.
    seen: Nanos,
}

impl State {
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

    /// What the guest reads.
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

    /// What the guest writes.
    pub(super) fn write(&mut self, index: usize, value: u8, host: Nanos) -> Events {
        let mut events = self.advance(host);
        match index {
            C | D => {}
            A => self.switch(A, value & !UPDATE_IN_PROGRESS, host),
            // Who sets the time wants no interrupt from its updates.
            B if value & SET != 0 => self.switch(B, value & !UPDATE, host),
            B => self.switch(B, value, host),
            index if TIME.contains(&index) => self.set_time(index, value, host),
            index => self.put(index, value),
        }
        // What was enabled just now may have come before.
        let rest = self.interrupt(0);
        events.interrupt |= rest.interrupt;
        events
    }

    /// Find what has come since this was last asked.
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

    /// Set these flags, and say what follows.
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

    /// Between two periodic interrupts (data sheet, table 5).
    fn period(&self) -> Option<Nanos> {
        let rate = match self.get(A) & RATE {
            0 => return None,
            // These two count as 8 and 9 do.
            rate @ 1..=2 => rate + 7,
            rate => rate,
        };
        Some((SECOND << (rate - 1)) / 32_768)
    }

    /// Write A or B: the clock may stop, or go on.
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

    /// Write to a register of the time.
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

    /// From the host's clock to the registers.
    fn stop(&mut self, host: Nanos) {
        let TimeSource::Running { ahead } = self.time else { return };
        let now = host + ahead;
        for index in TIME {
            self.put(index, self.format().shown(index, seconds(now)));
        }
        self.time = TimeSource::Stopped { fraction: now.rem_euclid(SECOND) };
    }

    /// From the registers to the host's clock. Registers that hold no time give the host's.
    fn start(&mut self, host: Nanos) {
        let TimeSource::Stopped { fraction } = self.time else { return };
        let now = self.set_to().map_or(host, |now| Nanos::from(now) * SECOND + fraction);
        self.time = TimeSource::Running { ahead: now - host };
        self.seen = now;
    }

    /// The second that the registers show, if they show one.
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
        // 31 February is another day.
        let is_date = (1..=12).contains(&date.month) && Date::of(days) == date;
        (is_time && is_date).then_some(days * DAY + hour * 3600 + minute * 60 + second)
    }

    /// The alarm registers; what they cannot hold goes with no time at all.
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

fn seconds(time: Nanos) -> i64 {
    i64::try_from(time.div_euclid(SECOND)).unwrap_or(0)
}
