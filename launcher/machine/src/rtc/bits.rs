//! The registers of the clock besides those of the time (Motorola MC146818): indices and bits.

/// The register of the alarm's second.
pub(super) const SECONDS_ALARM: usize = 1;
/// The register of the alarm's minute.
pub(super) const MINUTES_ALARM: usize = 3;
/// The register of the alarm's hour.
pub(super) const HOURS_ALARM: usize = 5;
/// Register A: the divider and the rate.
pub(super) const A: usize = 10;
/// Register B: settings and enabled interrupts.
pub(super) const B: usize = 11;
/// Register C: the flags of interrupts.
pub(super) const C: usize = 12;
/// Register D: the state of the battery.
pub(super) const D: usize = 13;

/// The register of the alarm's day. The MC146818 has none: PCs keep it in the clock's memory, and
/// the FADT has its index.
pub(crate) const DAY_ALARM: usize = 0x7d;
/// The register of the alarm's month, see [`DAY_ALARM`].
pub(crate) const MONTH_ALARM: usize = 0x7e;

/// The bit of register A during an update (UIP).
pub(super) const UPDATE_IN_PROGRESS: u8 = 0x80;
/// The bits of register A with the divider's setting.
pub(super) const DIVIDER: u8 = 0x70;
/// The setting of a divider that runs.
pub(super) const DIVIDER_RUNS: u8 = 0x20;
/// The bits that are both set while the divider is held in reset.
pub(super) const DIVIDER_RESET: u8 = 0x60;
/// The bits of register A with the rate of periodic interrupts.
pub(super) const RATE: u8 = 0x0f;
/// Register A after power-on.
pub(super) const A_RESET: u8 = DIVIDER_RUNS | 6;
/// Register B after power-on.
pub(super) const B_RESET: u8 = HOURS_24;

/// The bit of register B while the time is being set.
pub(super) const SET: u8 = 0x80;
/// The interrupt of updates: its enable bit in register B, its flag in register C.
pub(super) const UPDATE: u8 = 0x10;
/// The interrupt of the alarm: its enable bit in register B, its flag in register C.
pub(super) const ALARM: u8 = 0x20;
/// The periodic interrupt: its enable bit in register B, its flag in register C.
pub(super) const PERIODIC: u8 = 0x40;
/// The bit of register B for binary numbers instead of decimal ones.
pub(super) const BINARY: u8 = 0x04;
/// The bit of register B for hours that count to 24.
pub(super) const HOURS_24: u8 = 0x02;

/// The bit of register C when an enabled interrupt has come.
pub(super) const INTERRUPT: u8 = 0x80;
/// The bit of register D while the battery is good.
pub(super) const VALID: u8 = 0x80;

/// An alarm register with this value or a larger one matches any value.
pub(super) const ANY: u8 = 0xc0;
