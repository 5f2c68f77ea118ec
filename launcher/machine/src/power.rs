//! ACPI's fixed hardware, as much of it as a guest needs that sleeps (ACPI 6.5, 4.8.3): PM1
//! event registers, in which the real-time clock's alarm shows, and the PM1 control register,
//! with which the guest switches itself off. Their interrupt is the SCI. Ports are answered in
//! [`crate::ports`]; the tables that announce them are in [`crate::acpi`].

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use devices::mutex::lock;
use serde::{Deserialize, Serialize};

/// The ports of the PM1 event registers (ACPI 6.5, 4.8.3.1): two bytes of status, then two bytes
/// that enable the interrupts.
pub(crate) const EVENTS: Range<u16> = 0x600..0x604;
/// The ports of the PM1 control register (ACPI 6.5, 4.8.3.2), two bytes. The upper one has the
/// sleep type in bits 2 to 4, and SLP_EN in bit 5.
pub(crate) const CONTROL: Range<u16> = 0x604..0x606;
/// SLP_EN in the upper byte of the control register: enter the sleep state.
const SLEEP_ENABLE: u8 = 1 << 5;

/// The sleep type for S5, "soft off", that the tables announce.
pub(crate) const SLEEP_TYPE_OFF: u8 = 5;

/// The lower byte of the control register (SCI_EN): power events always raise the SCI.
const SCI_ENABLED: u8 = 1;

/// The bit of the real-time clock's alarm, in the status and in the enable register (RTC_STS,
/// RTC_EN).
const RTC: u16 = 1 << 10;

/// The contents of the event registers, which are all that power management has to remember.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerState {
    status: u16,
    enabled: u16,
}

impl PowerState {
    /// Whether an enabled event has happened, so that the SCI is high.
    fn is_raised(self) -> bool {
        self.status & self.enabled != 0
    }
}

/// Whether a guest that writes `data` from `port` on powers itself off.
pub(crate) fn switches_off(port: u16, data: &[u8]) -> bool {
    let mut written = (port..CONTROL.end).zip(data);
    let upper = written.find(|(port, _)| *port + 1 == CONTROL.end).map(|(_, byte)| *byte);
    CONTROL.contains(&port) && upper == Some(SLEEP_TYPE_OFF << 2 | SLEEP_ENABLE)
}

/// Sets the level of an interrupt line: true is high.
pub(crate) type SetLevel = Box<dyn Fn(bool) + Send + Sync>;

/// ACPI's PM1 registers, and the SCI that they raise.
pub struct Power {
    state: Mutex<PowerState>,
    sci: SetLevel,
}

impl fmt::Debug for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Power").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Power {
    /// Registers without any event. `sci` sets the level of the interrupt line.
    pub fn new(sci: SetLevel) -> Self {
        Self { state: Mutex::default(), sci }
    }

    /// Record an alarm of the real-time clock, and raise the SCI if the guest has enabled it.
    pub fn alarm(&self) {
        self.change(|state| state.status |= RTC);
    }

    /// The registers, for a snapshot.
    pub(crate) fn state(&self) -> PowerState {
        *lock(&self.state)
    }

    /// Set the registers, and the interrupt line to match. KVM does not remember the line's level.
    pub(crate) fn restore(&self, state: PowerState) {
        let mut ours = lock(&self.state);
        *ours = state;
        (self.sci)(state.is_raised());
    }

    /// Answer an `in` of any width, from a port of [`EVENTS`] or [`CONTROL`].
    pub(crate) fn read(&self, port: u16, data: &mut [u8]) {
        let PowerState { status, enabled } = *lock(&self.state);
        let [[status_low, status_high], [enabled_low, enabled_high]] =
            [status, enabled].map(u16::to_le_bytes);
        let registers = [status_low, status_high, enabled_low, enabled_high, SCI_ENABLED, 0];
        let first = usize::from(port.saturating_sub(EVENTS.start));
        for (byte, register) in data.iter_mut().zip(registers.iter().skip(first)) {
            *byte = *register;
        }
    }

    /// Take an `out` of any width to a port of [`EVENTS`].
    pub(crate) fn write(&self, port: u16, data: &[u8]) {
        self.change(|state| {
            for (port, byte) in (port..EVENTS.end).zip(data.iter().copied().map(u16::from)) {
                match port.saturating_sub(EVENTS.start) {
                    // A status bit is cleared by writing 1.
                    0 => state.status &= !byte,
                    1 => state.status &= !(byte << 8),
                    2 => state.enabled = state.enabled & 0xff00 | byte,
                    _ => state.enabled = state.enabled & 0xff | byte << 8,
                }
            }
        });
    }

    /// Change the registers, and set the interrupt line to match. The lock is held until the line
    /// is set: two threads' levels must not overtake each other.
    fn change(&self, change: impl FnOnce(&mut PowerState)) {
        let mut state = lock(&self.state);
        let before = state.is_raised();
        change(&mut state);
        let after = state.is_raised();
        if before != after {
            (self.sci)(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    fn power() -> (Power, Receiver<bool>) {
        let (sender, levels) = mpsc::channel();
        let sender = Arc::new(Mutex::new(sender));
        let level = move |level| sender.lock().unwrap().send(level).unwrap();
        (Power::new(Box::new(level)), levels)
    }

    #[test]
    fn an_alarm_raises_the_interrupt_until_the_guest_clears_it() {
        let (power, levels) = power();
        power.alarm();
        assert!(levels.try_recv().is_err(), "not enabled");
        power.write(0x602, &RTC.to_le_bytes());
        assert_eq!(levels.try_recv(), Ok(true));
        let mut status = [0; 2];
        power.read(0x600, &mut status);
        assert_eq!(u16::from_le_bytes(status), RTC);
        power.alarm();
        power.write(0x600, &(!RTC).to_le_bytes());
        assert!(levels.try_recv().is_err(), "another bit was cleared");
        power.write(0x600, &RTC.to_le_bytes());
        assert_eq!(levels.try_recv(), Ok(false));
    }

    #[test]
    fn a_restored_interrupt_is_as_high_as_it_was() {
        let (saved, _levels) = power();
        saved.write(0x602, &RTC.to_le_bytes());
        for raised in [false, true] {
            let (restored, levels) = power();
            restored.restore(saved.state());
            assert_eq!(levels.try_recv(), Ok(raised));
            assert_eq!(restored.state(), saved.state());
            restored.write(0x600, &RTC.to_le_bytes());
            assert_eq!(levels.try_recv().is_ok(), raised, "cleared");
            saved.alarm();
        }
    }

    #[test]
    fn only_the_sleep_type_of_s5_powers_the_machine_off() {
        assert!(switches_off(0x604, &[0, 0x34]) && switches_off(0x605, &[0x34]));
        assert!(switches_off(0x604, &[0x01, 0x34, 0, 0]));
        for (port, data) in
            [(0x604, &[0x34][..]), (0x605, &[0x24]), (0x605, &[]), (0x603, &[0, 0, 0x34])]
        {
            assert!(!switches_off(port, data), "{port:#x} {data:x?}");
        }
    }

    #[test]
    fn registers_are_read_and_written_in_any_width() {
        let (power, levels) = power();
        power.write(0x603, &[0x04]);
        power.alarm();
        assert_eq!(levels.try_recv(), Ok(true));
        let mut all = [0xff; 4];
        power.read(0x600, &mut all);
        assert_eq!(all, [0, 4, 0, 4]);
        power.write(0x600, &[0xff; 4]);
        power.read(0x600, &mut all);
        assert_eq!(all, [0, 0, 0xff, 0xff]);
        let mut control = [0xff; 2];
        power.read(0x604, &mut control);
        assert_eq!(control, [SCI_ENABLED, 0]);
        let mut last = [0xee; 4];
        power.read(0x605, &mut last);
        assert_eq!(last, [0, 0xee, 0xee, 0xee]);
        power.write(0x603, &[0, 1, 2, 3]);
    }
}
