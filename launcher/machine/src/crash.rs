//! The report on a guest that cannot continue: a few lines with the
//! reason, the address, the instruction there and the registers.

use std::fmt::Write;
use std::io;

use kvm_bindings::{KVM_INTERNAL_ERROR_EMULATION, kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress};

use crate::end::{Crash, MachineEnd};
use crate::memory::Memory;

/// Why a vCPU cannot enter the guest again.
#[derive(Debug)]
pub(crate) enum Cause {
    /// KVM_EXIT_SHUTDOWN: a fault while handling a fault while handling a fault.
    TripleFault,
    /// KVM_EXIT_INTERNAL_ERROR, with the number of the error.
    InternalError(u32),
    /// KVM_EXIT_FAIL_ENTRY, with the hardware's reason.
    FailedEntry(u64),
    /// KVM_RUN itself failed.
    Refused(io::Error),
    /// An exit that this launcher does not know.
    Unknown(String),
}

/// The length in bytes of the longest instruction of x86.
const INSTRUCTION: usize = 15;

impl Cause {
    /// The cause as the first line of the report.
    fn reason(&self) -> String {
        match self {
            Self::TripleFault => "triple fault".to_string(),
            Self::InternalError(KVM_INTERNAL_ERROR_EMULATION) => {
                "KVM internal error 1: it cannot emulate the instruction".to_string()
            }
            Self::InternalError(other) => format!("KVM internal error {other}"),
            Self::FailedEntry(reason) => {
                format!("the CPU refused to enter the guest, hardware reason {reason:#x}")
            }
            Self::Refused(error) => format!("KVM_RUN: {error}"),
            Self::Unknown(exit) => format!("unexpected exit from KVM: {exit}"),
        }
    }

    /// The machine's end by this cause, with this report.
    fn end(&self, text: String) -> MachineEnd {
        MachineEnd::Crashed(Crash { text, by_kvm: !matches!(self, Self::TripleFault) })
    }
}

/// The machine's end by a cause, with the vCPU's registers in the report.
pub(crate) fn report(vcpu: &VcpuFd, memory: &Memory, cause: &Cause) -> MachineEnd {
    let mut text = cause.reason();
    match (vcpu.get_regs(), vcpu.get_sregs()) {
        (Ok(regs), Ok(sregs)) => describe(&mut text, vcpu, memory, &regs, &sregs),
        (Err(error), _) | (_, Err(error)) => {
            let _ = write!(text, "\n  cannot read registers: {error}");
        }
    }
    cause.end(text)
}

/// The machine's end by a triple fault. Some guests reset the machine by one: Linux with reboot=t
/// empties the interrupt descriptor table and causes an exception. Where KVM
/// keeps the registers (Intel), the empty table tells it from a crash. AMD's
/// CPUs leave nothing to look at, because KVM resets the vCPU before lguest sees it. There
/// a triple fault is a reset if `announced`: if the kernel command line has reboot=t.
pub(crate) fn triple_fault(vcpu: &VcpuFd, memory: &Memory, announced: bool) -> MachineEnd {
    const RESET_VECTOR: u64 = 0xfff0;
    let idt_limit = vcpu.get_sregs().map(|sregs| sregs.idt.limit);
    let registers_lost = vcpu.get_regs().is_ok_and(|regs| regs.rip == RESET_VECTOR);
    if idt_limit.is_ok_and(|limit| limit == 0) || registers_lost && announced {
        return MachineEnd::Reset("a triple fault");
    }
    if registers_lost {
        let text = "triple fault\n  this host's KVM does not keep the registers (AMD)";
        return MachineEnd::Crashed(Crash { text: text.to_string(), by_kvm: false });
    }
    report(vcpu, memory, &Cause::TripleFault)
}

fn describe(text: &mut String, vcpu: &VcpuFd, memory: &Memory, regs: &kvm_regs, sregs: &kvm_sregs) {
    let instruction = match instruction(vcpu, memory, regs.rip.wrapping_add(sregs.cs.base)) {
        Some(bytes) => bytes.iter().fold(String::new(), |all, byte| format!("{all} {byte:02x}")),
        None => " (not mapped)".to_string(),
    };
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "\n  rip {:#x} cs {:#x} rflags {:#x}; instruction:{instruction}\
         \n  rax {:#x} rbx {:#x} rcx {:#x} rdx {:#x} rsi {:#x} rdi {:#x} rbp {:#x} rsp {:#x}\
         \n  cr0 {:#x} cr2 {:#x} cr3 {:#x} cr4 {:#x} efer {:#x} idt {:#x}+{:#x}",
        regs.rip,
        sregs.cs.selector,
        regs.rflags,
        regs.rax,
        regs.rbx,
        regs.rcx,
        regs.rdx,
        regs.rsi,
        regs.rdi,
        regs.rbp,
        regs.rsp,
        sregs.cr0,
        sregs.cr2,
        sregs.cr3,
        sregs.cr4,
        sregs.efer,
        sregs.idt.base,
        sregs.idt.limit,
    );
}

/// The bytes of the instruction at a guest virtual address. `None` if the address is not mapped.
fn instruction(vcpu: &VcpuFd, memory: &Memory, address: u64) -> Option<[u8; INSTRUCTION]> {
    let translation = vcpu.translate_gva(address).ok().filter(|found| found.valid != 0)?;
    let mut bytes = [0; INSTRUCTION];
    // Fewer bytes are available near the end of RAM: the rest stays 0.
    memory.read(&mut bytes, GuestAddress(translation.physical_address)).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_entry_is_a_crash_with_the_hardwares_reason() {
        let cause = Cause::FailedEntry(0x8000_0021);
        let end = cause.end(cause.reason());
        // Another host's KVM may accept what this one refused: the launcher prints a hint.
        let MachineEnd::Crashed(Crash { text, by_kvm: true }) = end else { panic!("{end:?}") };
        assert!(text.starts_with("the CPU refused to enter the guest"), "{text}");
        assert!(text.contains("reason 0x80000021") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn each_cause_has_its_own_text() {
        let causes = [
            Cause::TripleFault,
            Cause::InternalError(KVM_INTERNAL_ERROR_EMULATION),
            Cause::InternalError(3),
            Cause::FailedEntry(7),
            Cause::Refused(io::Error::from_raw_os_error(libc::EFAULT)),
            Cause::Unknown("Debug".to_string()),
        ];
        let words: std::collections::BTreeSet<_> = causes.iter().map(Cause::reason).collect();
        assert_eq!(words.len(), causes.len(), "{words:?}");
    }
}
