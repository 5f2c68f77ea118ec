//! The place at which a vCPU was paused, for messages. The vCPU's own thread records it.

use kvm_bindings::{
    KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_RUNNABLE,
    KVM_MP_STATE_SIPI_RECEIVED, KVM_MP_STATE_UNINITIALIZED, kvm_regs, kvm_sregs,
};
use kvm_ioctls::VcpuFd;

/// RFLAGS.IF: interrupts are enabled.
const INTERRUPTS: u64 = 1 << 9;

/// The place at which a vCPU was paused, and its state there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PausedAt {
    /// The linear address of the next instruction.
    pub address: u64,
    doing: Activity,
    /// The vCPU was in user mode.
    user: bool,
    interrupts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// The guest has not started the CPU.
    Waiting,
    Halted,
    Running,
}

impl PausedAt {
    /// Read the place from the vCPU. `None` if KVM reports an error.
    pub(super) fn of(vcpu: &VcpuFd) -> Option<Self> {
        let (regs, sregs) = (vcpu.get_regs().ok()?, vcpu.get_sregs().ok()?);
        let state = vcpu.get_mp_state().map_or(KVM_MP_STATE_RUNNABLE, |state| state.mp_state);
        Some(Self::from(&regs, &sregs, state))
    }

    fn from(regs: &kvm_regs, sregs: &kvm_sregs, state: u32) -> Self {
        let doing = match state {
            KVM_MP_STATE_UNINITIALIZED
            | KVM_MP_STATE_INIT_RECEIVED
            | KVM_MP_STATE_SIPI_RECEIVED => Activity::Waiting,
            KVM_MP_STATE_HALTED => Activity::Halted,
            _ => Activity::Running,
        };
        Self {
            // Segments have no bases in 64-bit mode, whatever the register has.
            address: if sregs.cs.l == 0 { regs.rip.wrapping_add(sregs.cs.base) } else { regs.rip },
            doing,
            user: sregs.ss.dpl == 3,
            interrupts: regs.rflags & INTERRUPTS != 0,
        }
    }

    /// A description, such as "halted, interrupts off, at rip 0xffffffff8105ab2c". `function` is
    /// the name of the function at the address.
    pub fn describe(&self, function: Option<&str>) -> String {
        let interrupts = if self.interrupts { "on" } else { "off" };
        let doing = match (self.doing, self.user) {
            (Activity::Waiting, _) => return "not started".to_string(),
            (Activity::Halted, _) => "halted",
            (Activity::Running, true) => "running, in user mode",
            (Activity::Running, false) => "running",
        };
        let function = function.map(|name| format!(" ({name})")).unwrap_or_default();
        format!("{doing}, interrupts {interrupts}, at rip {:#x}{function}", self.address)
    }

    /// Whether the guest has started the CPU, so that its address is in a function.
    pub fn is_started(&self) -> bool {
        self.doing != Activity::Waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(rflags: u64, dpl: u8, state: u32, function: Option<&str>) -> String {
        let regs = kvm_regs { rip: 0xffff_ffff_8105_ab2c, rflags, ..Default::default() };
        let mut sregs = kvm_sregs::default();
        (sregs.ss.dpl, sregs.cs.l, sregs.cs.base) = (dpl, 1, 0x1000);
        PausedAt::from(&regs, &sregs, state).describe(function)
    }

    #[test]
    fn the_description_has_state_interrupts_and_address() {
        assert_eq!(
            described(2, 0, KVM_MP_STATE_HALTED, None),
            "halted, interrupts off, at rip 0xffffffff8105ab2c"
        );
        assert_eq!(
            described(0x202, 3, KVM_MP_STATE_RUNNABLE, Some("main+0x1")),
            "running, in user mode, interrupts on, at rip 0xffffffff8105ab2c (main+0x1)"
        );
        assert_eq!(described(2, 0, KVM_MP_STATE_UNINITIALIZED, None), "not started");
    }

    #[test]
    fn in_real_mode_the_segment_is_part_of_the_address() {
        let regs = kvm_regs { rip: 0x10, ..Default::default() };
        let mut sregs = kvm_sregs::default();
        sregs.cs.base = 0x9_f000;
        assert_eq!(PausedAt::from(&regs, &sregs, KVM_MP_STATE_RUNNABLE).address, 0x9_f010);
    }
}
