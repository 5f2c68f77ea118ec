//! What the two bits of the PCI command register switch (PCI 3.0, 6.2.2). Memory: whether
//! the driver reaches the BAR, doorbells included. Bus master: whether the device reaches
//! memory, which is rings, buffers and interrupt messages.

use super::VirtioPci;
use crate::status::{DRIVER_OK, FAILED, NEEDS_RESET};

/// What was last done about the command register.
#[derive(Debug, Default)]
pub(super) struct Bus {
    /// The doorbells are wired.
    wired: bool,
    master: bool,
    /// The queues of this life of the device have been started.
    pub(super) started: bool,
}

impl VirtioPci {
    /// Do what the command register and MSI-X' message control say now.
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

    /// Have KVM ring the doorbells by itself, or have writes to them come here.
    fn wire_doorbells(&self, on: bool) {
        for (address, doorbell) in self.doorbells() {
            if !on {
                self.machine.unwire(address, &doorbell);
            } else if let Err(error) = self.machine.wire(address, &doorbell) {
                let why = format!("wiring the doorbell at {address:#x}: {error}");
                self.machine.failed(self.status.name(), &why);
            }
        }
    }

    /// Serve the queues, once the driver is ready and the device may reach memory: both
    /// are needed, and either may come first.
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

    /// How Linux silences a device whose driver will not get to it (kexec): it asks for
    /// nothing afterwards, and gives the memory to others. So nothing is served any more,
    /// not even when the bus comes back, which for the next kernel is before its reset.
    /// A driver that goes on all the same is told to reset the device (2.1.2).
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

    /// Whether the driver is ready, and nothing has happened since.
    fn is_live(&self) -> bool {
        let bits = self.status.bits() & (DRIVER_OK | FAILED | NEEDS_RESET);
        bits == DRIVER_OK && !self.resetting
    }
}
