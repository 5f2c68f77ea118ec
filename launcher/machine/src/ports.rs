//! The I/O ports of the machine: where a guest ends itself, and the serial port
//! for messages before its console driver runs. Everything here is called on
//! vCPU threads and never waits. PCI configuration is passed on to
//! [`devices::pci`], power management to [`crate::power`], the date to
//! [`crate::rtc`]. The timer (0x40 to 0x43, 0x61) is KVM's own.

mod com1;

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use devices::pci::{CONFIG_PORTS, PciBus, PciBusState};
use serde::{Deserialize, Serialize};

use crate::end::{MachineEnd, MachineOwner};
use crate::power::{self, Power, PowerState};
use crate::rtc::{self, Clock, ClockState};
pub use com1::{Com1, Com1State};

/// The port that ends the guest. The byte written is the launcher's exit status.
pub(crate) const EXIT_STATUS: u16 = 0x501;
/// The port at which the guest's kernel reports that it has panicked (pvpanic).
pub(crate) const PVPANIC: u16 = 0x505;
/// The ACPI reset register (4.8.3.6).
pub(crate) const ACPI_RESET: u16 = 0x608;
/// The value that resets the machine, according to the ACPI tables.
pub(crate) const RESET_VALUE: u8 = 1;
/// The ports of the serial port.
pub(crate) const COM1: Range<u16> = 0x3f8..0x400;

/// The command port of the keyboard controller. Only its reset line is emulated.
const KEYBOARD: u16 = 0x64;
/// The command that pulses the reset line.
const KEYBOARD_RESET: u8 = 0xfe;
/// The reset control register of PC chipsets, among the PCI ports.
const RESET_CONTROL: u16 = 0xcf9;
/// The bit that resets the CPU.
const RESET_CPU: u8 = 1 << 2;

/// The only event of pvpanic that the machine supports: the kernel panicked.
const PVPANIC_PANICKED: u8 = 1;

/// All devices that answer port I/O.
pub struct Ports {
    /// The PCI bus, behind its configuration ports.
    pub pci: PciBus,
    /// The owner, which is notified when the guest powers off, resets or panics.
    pub owner: Arc<dyn MachineOwner>,
    /// The serial port, if the machine has one.
    pub com1: Option<Com1>,
    /// ACPI power management.
    pub power: Arc<Power>,
    /// The real-time clock.
    pub clock: Clock,
}

/// The state of all devices that answer port I/O.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortsState {
    pci: PciBusState,
    power: PowerState,
    clock: ClockState,
    com1: Option<Com1State>,
}

impl Ports {
    /// The state of all devices, for a snapshot. The vCPUs, the clock and the bus have to be paused.
    ///
    /// # Errors
    /// When a device is not paused.
    pub fn state(&self) -> Result<PortsState> {
        let Self { pci, owner: _, com1, power, clock } = self;
        Ok(PortsState {
            pci: pci.state()?,
            power: power.state(),
            clock: clock.state(),
            com1: com1.as_ref().map(Com1::state),
        })
    }

    /// Set the state of all devices, and raise the interrupts that follow from it. KVM's interrupt
    /// controllers have to be restored before, and no vCPU may have run. The clock holds back its
    /// interrupts until it is released.
    ///
    /// # Errors
    /// When the state is that of other devices, or not valid. The text names the device. The machine
    /// is then of no use.
    pub fn restore(&self, state: &PortsState) -> Result<()> {
        let PortsState { pci, power, clock, com1 } = state;
        self.pci.restore(pci)?;
        self.power.restore(*power);
        self.clock.restore(clock).context("real-time clock")?;
        match (&self.com1, com1) {
            (Some(ours), Some(saved)) => ours.restore(saved).context("COM1")?,
            (None, None) => {}
            (None, Some(_)) => bail!("COM1: the snapshot has it, the machine does not"),
            (Some(_), None) => bail!("COM1: the machine has it, the snapshot does not"),
        }
        Ok(())
    }

    /// Answer an `in` of any width. Ports without a device read as ones.
    pub(crate) fn read(&self, port: u16, data: &mut [u8]) {
        data.fill(0xff);
        match port {
            RESET_CONTROL if data.len() == 1 => data.fill(0),
            port if CONFIG_PORTS.contains(&port) => self.pci.read_port(port, data),
            // The input buffer is empty: ready for the reset command.
            KEYBOARD => data.fill(0),
            port if power::EVENTS.contains(&port) || power::CONTROL.contains(&port) => {
                self.power.read(port, data);
            }
            port if rtc::PORTS.contains(&port) => {
                if let Some(byte) = data.first_mut() {
                    *byte = self.clock.read(port);
                }
            }
            PVPANIC => data.fill(PVPANIC_PANICKED),
            port if COM1.contains(&port) => {
                if let (Some(com1), Some(byte)) = (&self.com1, data.first_mut()) {
                    *byte = com1.read(port);
                }
            }
            _ => {}
        }
    }

    /// Take an `out` of any width, or of several bytes to one port (`rep outs`).
    pub(crate) fn write(&self, port: u16, data: &[u8]) {
        let byte = data.first().copied().unwrap_or(0);
        match port {
            RESET_CONTROL if data.len() == 1 && byte & RESET_CPU != 0 => {
                self.owner.ended(MachineEnd::Reset("port 0xcf9"));
            }
            port if CONFIG_PORTS.contains(&port) => self.pci.write_port(port, data),
            EXIT_STATUS => self.owner.ended(MachineEnd::Status(byte)),
            PVPANIC if byte & PVPANIC_PANICKED != 0 => self.owner.ended(MachineEnd::Panicked),
            port if power::EVENTS.contains(&port) => self.power.write(port, data),
            port if power::switches_off(port, data) => self.owner.ended(MachineEnd::PoweredOff),
            port if rtc::PORTS.contains(&port) => self.clock.write(port, byte),
            ACPI_RESET if byte == RESET_VALUE => {
                self.owner.ended(MachineEnd::Reset("the ACPI reset register"));
            }
            KEYBOARD if byte == KEYBOARD_RESET => {
                self.owner.ended(MachineEnd::Reset("the keyboard controller, port 0x64"));
            }
            port if COM1.contains(&port) => {
                if let Some(com1) = &self.com1 {
                    data.iter().for_each(|byte| com1.write(port, *byte));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
impl Ports {
    /// The ports of a machine without devices, whose interrupts go nowhere.
    pub(crate) fn of(owner: Arc<dyn MachineOwner>) -> Self {
        Self {
            pci: PciBus::new(0xc000_0000),
            owner,
            com1: None,
            power: Arc::new(Power::new(Box::new(|_| {}))),
            clock: Clock::new(Box::new(|| {}), Box::new(|| {})),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::end::testing::Ended;

    fn end_of(port: u16, byte: u8) -> Option<MachineEnd> {
        let owner = Arc::new(Ended::default());
        let ports = Ports::of(owner.clone());
        ports.write(port, &[byte]);
        owner.take()
    }

    #[test]
    fn each_register_ends_the_guest_for_its_reason() {
        assert_eq!(end_of(EXIT_STATUS, 42), Some(MachineEnd::Status(42)));
        assert_eq!(end_of(PVPANIC, 1), Some(MachineEnd::Panicked));
        assert_eq!(end_of(0x605, 0x34), Some(MachineEnd::PoweredOff));
        assert!(matches!(end_of(ACPI_RESET, 1), Some(MachineEnd::Reset(_))));
        assert!(matches!(end_of(KEYBOARD, 0xfe), Some(MachineEnd::Reset(_))));
        assert!(matches!(end_of(RESET_CONTROL, 0x06), Some(MachineEnd::Reset(_))));
    }

    /// Ports with COM1, and a counter of its interrupts.
    fn with_com1() -> (Ports, Arc<AtomicU32>) {
        let raised = Arc::new(AtomicU32::new(0));
        let ours = Arc::clone(&raised);
        let raise = move || _ = ours.fetch_add(1, Ordering::Relaxed);
        let mut ports = Ports::of(Arc::new(Ended::default()));
        ports.com1 = Some(Com1::new(Box::new(raise), Box::new(std::io::sink())));
        (ports, raised)
    }

    #[test]
    fn the_state_comes_back_from_a_snapshot() {
        let (ports, raised) = with_com1();
        for (port, byte) in [(0x3fb, 0x83), (0x3f8, 1), (0x3f9, 0), (0x3fb, 0x13), (0x3ff, 0x5a)] {
            ports.write(port, &[byte]);
        }
        ports.write(0x602, &[0, 4]);
        ports.write(0x70, &[0x32]);
        let saved = ports.state().unwrap();
        let json = serde_json::to_string(&saved).unwrap();
        let read: PortsState = serde_json::from_str(&json).unwrap();
        assert_eq!(read, saved);
        let (restored, none) = with_com1();
        restored.restore(&read).unwrap();
        assert_eq!(restored.state().unwrap(), saved);
        assert_eq!((raised.load(Ordering::Relaxed), none.load(Ordering::Relaxed)), (0, 0));
        let mut scratch = [0];
        restored.read(0x3ff, &mut scratch);
        assert_eq!(scratch, [0x5a]);
    }

    #[test]
    fn a_serial_port_that_was_sending_continues() {
        let (ports, _) = with_com1();
        let raised_by_restoring = || {
            let (restored, raised) = with_com1();
            restored.restore(&ports.state().unwrap()).unwrap();
            raised.load(Ordering::Relaxed)
        };
        assert_eq!(raised_by_restoring(), 0);
        ports.write(0x3f9, &[2]);
        assert!(raised_by_restoring() > 0);
        // The driver has read which interrupt it was.
        ports.read(0x3fa, &mut [0]);
        assert!(raised_by_restoring() > 0);
    }

    #[test]
    fn the_state_of_other_devices_is_refused() {
        let (with, _) = with_com1();
        let without = Ports::of(Arc::new(Ended::default()));
        let refusal = |ports: &Ports, state| ports.restore(&state).unwrap_err().to_string();
        assert!(refusal(&with, without.state().unwrap()).contains("COM1: the machine has it"));
        assert!(refusal(&without, with.state().unwrap()).contains("COM1: the snapshot has it"));
        let mut full = serde_json::to_value(with.state().unwrap()).unwrap();
        full["com1"]["in_buffer"] = vec![0_u8; 65].into();
        let full = serde_json::from_value(full).unwrap();
        assert_eq!(
            format!("{:#}", with.restore(&full).unwrap_err()),
            "COM1: No space left in FIFO"
        );
        let mut more = serde_json::to_value(with.state().unwrap()).unwrap();
        more["floppy"] = 1.into();
        assert!(serde_json::from_value::<PortsState>(more).is_err());
    }

    #[test]
    fn other_values_do_not_end_the_guest() {
        assert_eq!(end_of(0x605, 0x24), None);
        assert_eq!(end_of(0x604, 0x34), None);
        assert_eq!(end_of(RESET_CONTROL, 0x02), None);
        assert_eq!(end_of(KEYBOARD, 0xd1), None);
        assert_eq!(end_of(0x80, 0xff), None);
    }
}
