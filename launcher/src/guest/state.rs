//! The state of a paused guest, and a guest that continues from such a state.

use anyhow::{Result, anyhow};
use machine::ports::PortsState;
use machine::vcpu::{Vcpu, VcpuState};
use machine::vm::VmState;
use serde::{Deserialize, Serialize};

use super::Guest;
use crate::console::ConsoleState;

/// The state of a guest, without its memory and the bytes of its consoles.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuestState {
    pub(crate) machine: MachineState,
    /// The consoles, hvc0 first.
    pub(crate) consoles: Vec<ConsoleState>,
}

/// The state of the virtual machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MachineState {
    pub(crate) vcpus: Vec<VcpuState>,
    pub(crate) vm: VmState,
    pub(crate) ports: PortsState,
}

impl Guest {
    /// The state of the guest, which is paused.
    ///
    /// # Errors
    /// When KVM does not report a part of it.
    pub(crate) fn state(&self) -> Result<MachineState> {
        let Self { waiting: _, running, context, vm } = self;
        let vcpus = running.iter().map(Vcpu::state).collect::<Result<_>>()?;
        let ports = context.ports.state().map_err(|why| anyhow!("{why}"))?;
        // The clock comes last: the vCPUs are read while it runs.
        Ok(MachineState { vcpus, vm: vm.state()?, ports })
    }

    /// Continue from a state. The guest has just been built over the memory that belongs to it, and
    /// has not been started.
    ///
    /// # Errors
    /// What does not fit this host or this guest.
    pub(super) fn restore(&mut self, state: &MachineState) -> Result<()> {
        let MachineState { vcpus, vm, ports } = state;
        let passed = vm.passed();
        for ((vcpu, _), state) in self.waiting.iter_mut().zip(vcpus) {
            let mut now = state.clone();
            now.move_on(passed);
            vcpu.restore(&now)?;
        }
        // The I/O APIC may send interrupts to the vCPUs, and the devices to both.
        self.vm.restore(vm)?;
        self.context.ports.restore(ports).map_err(|why| anyhow!("{why}"))
    }
}
