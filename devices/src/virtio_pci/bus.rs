//! Two bits of the PCI command register (PCI 3.0, 6.2.2). Memory space: whether the driver
//! can access the BAR, doorbells included. Bus master: whether the device can access
//! memory, which includes rings, buffers and interrupt messages.

use super::VirtioPci;
use crate::status::{DRIVER_OK, FAILED, NEEDS_RESET};

/// The state that was last derived from the command register.
#[derive(Debug, Default)]
pub(super) struct Bus {
    /// The doorbells are wired.
    pub(super) wired: bool,
    pub(super) master: bool,
    /// The queues have been started since the last reset.
    pub(super) started: bool,
}

impl VirtioPci {
    /// Applies the command register and the message control register of MSI-X.
    pub(super) fn obey_command(&mut self) {
        let (memory, master) = (self.config_space.memory_enabled(), self.config_space.bus_master());
        if memory != self.bus.wired {
            self.bus.wired = memory;
            self.wire_doorbells(memory);
        }
        self.msix.set_control(self.config_space.msix_control(), master);
        if master != self.bus.master {
            self.bus.master = master;
            if master { self.start_if_ready() } else { self.lose_bus() }
        }
    }

    /// Wires the doorbells, so that KVM signals them, or ends that.
    pub(super) fn wire_doorbells(&self, on: bool) {
        for (address, doorbell) in self.doorbells() {
            if !on {
                self.machine.unwire(address, &doorbell);
            } else if let Err(error) = self.machine.wire(address, &doorbell) {
                let why = format!("wiring the doorbell at {address:#x}: {error}");
                self.machine.failed(self.status.name(), &why);
            }
        }
    }

    /// Starts the queues if the driver is ready and the device is bus master. Either may
    /// come first.
    pub(super) fn start_if_ready(&mut self) {
        if self.bus.started || !self.is_live() {
            return;
        }
        if self.bus.master {
            self.bus.started = true;
            self.start();
        } else {
            let name = self.status.name();
            log::info!("{name}: the driver is ready, but the device is not bus master yet");
        }
    }

    /// Stops the queues because the device is not bus master any more. Linux silences a
    /// device in this way before it starts another kernel (kexec), and then uses the
    /// queue's memory for something else. The next kernel enables bus mastering before it
    /// resets the device, so that does not start the queues again. A driver that continues
    /// without a reset gets NEEDS_RESET (2.1.2).
    fn lose_bus(&mut self) {
        let served = self.bus.started && self.is_live();
        self.stop(None);
        if served {
            self.status.set(NEEDS_RESET);
            self.status.interrupt_config();
            let name = self.status.name();
            log::info!("{name}: bus mastering was switched off; device needs a reset");
        }
    }

    /// Whether the driver is ready, and the device needs no reset and has not begun one.
    fn is_live(&self) -> bool {
        let bits = self.status.bits() & (DRIVER_OK | FAILED | NEEDS_RESET);
        bits == DRIVER_OK && !self.resetting
    }
}
