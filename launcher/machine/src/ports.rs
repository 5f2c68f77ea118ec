//! The I/O ports of the machine: where a guest ends itself, and the serial port
//! for messages before its console driver runs. Everything here is called on
//! vCPU threads and never waits. PCI configuration is passed on to
//! [`devices::pci`], power management to [`crate::power`], the date to
//! [`crate::rtc`]. The timer (0x40 to 0x43, 0x61) is KVM's own.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use devices::mutex::lock;
use devices::number::low_u8;
use devices::pci::{CONFIG_PORTS, PciBus};
use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::EventFd;

use crate::end::{MachineEnd, MachineOwner};
use crate::power::{self, Power};
use crate::rtc::{self, Clock};

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

impl Ports {
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

/// The serial port's interrupt: KVM's irqfd for its line.
pub(crate) struct InterruptLine(pub(crate) EventFd);

impl Trigger for InterruptLine {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// COM1, output only.
pub struct Com1(Mutex<Serial<InterruptLine, NoEvents, Box<dyn Write + Send>>>);

impl Com1 {
    /// A serial port whose interrupt line is `line`. vCPU threads write what the guest sends to
    /// `output`, which must not wait for a reader.
    pub fn new(line: EventFd, output: Box<dyn Write + Send>) -> Self {
        Self(Mutex::new(Serial::new(InterruptLine(line), output)))
    }

    fn read(&self, port: u16) -> u8 {
        let mut serial = lock(&self.0);
        serial.read(register(port))
    }

    fn write(&self, port: u16, byte: u8) {
        let mut serial = lock(&self.0);
        // Errors are those of the output and of the interrupt: neither is the guest's.
        let _ = serial.write(register(port), byte);
    }
}

fn register(port: u16) -> u8 {
    low_u8(port.wrapping_sub(COM1.start))
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

    #[test]
    fn other_values_do_not_end_the_guest() {
        assert_eq!(end_of(0x605, 0x24), None);
        assert_eq!(end_of(0x604, 0x34), None);
        assert_eq!(end_of(RESET_CONTROL, 0x02), None);
        assert_eq!(end_of(KEYBOARD, 0xd1), None);
        assert_eq!(end_of(0x80, 0xff), None);
    }
}
