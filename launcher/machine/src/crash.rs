//! A guest that cannot go on: what the user is told. A few lines with the
//! reason, where it happened, the instruction there and the registers.

use std::fmt::Write;
use std::io;

use kvm_bindings::{KVM_INTERNAL_ERROR_EMULATION, kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress};

use crate::end::{Crash, MachineEnd};
use crate::memory::Memory;
pub use crate::sys::internal_error;

/// Why KVM came back for good.
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

/// Longest instruction of the architecture.
const INSTRUCTION: usize = 15;

impl Cause {
    /// In a line.
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

    /// The guest's end by it, told by this text.
    fn end(&self, text: String) -> MachineEnd {
        MachineEnd::Crashed(Crash { text, by_kvm: !matches!(self, Self::TripleFault) })
    }
}

/// The guest's end by any cause.
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

/// A triple fault is how some guests reset the machine: Linux with reboot=t
/// empties the interrupt descriptor table and causes an exception. Where KVM
/// keeps the registers (Intel), the empty table tells it from a crash. AMD's
/// CPUs leave nothing to look at (KVM resets the vCPU before we see it); there
/// it is a reset if the kernel command line announced it.
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

/// The bytes at a guest virtual address.
fn instruction(vcpu: &VcpuFd, memory: &Memory, address: u64) -> Option<[u8; INSTRUCTION]> {
    let translation = vcpu.translate_gva(address).ok().filter(|found| found.valid != 0)?;
    let mut bytes = [0; INSTRUCTION];
    // Near the end of RAM there are fewer: the rest stays 0.
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
        // Another host's KVM may take what this one did not: the user is told how to ask it.
        let MachineEnd::Crashed(Crash { text, by_kvm: true }) = end else { panic!("{end:?}") };
        assert!(text.starts_with("the CPU refused to enter the guest"), "{text}");
        assert!(text.contains("reason 0x80000021") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn each_cause_has_words_of_its_own() {
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
