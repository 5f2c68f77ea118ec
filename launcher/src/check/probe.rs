//! Runs one of the [`super::programs`] in its own virtual machine, which exists only for that. The
//! run ends whatever the program does to its vCPU: exits are counted, and another thread limits the
//! time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use devices::{kick, threads};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use machine::boot::{EntryPoint, start};
use machine::cpuid::{Cpus, Features};
use machine::memory::{Memory, Ram};
use vm_memory::{Bytes, GuestAddress};

use super::programs::{AT_BREAKPOINT, BREAKPOINT, CODE, DONE, GATES, Program, SCRATCH, STACK};

/// How long a program may take. Programs need milliseconds, even if KVM emulates them.
const PATIENCE: Duration = Duration::from_secs(2);
const MOST_EXITS: u32 = 16;

/// Bytes of memory. Programs and tables need less than half of this.
const MEMORY: u64 = 1 << 20;

/// Control registers and gates: Intel SDM volume 3, 2.5; 6.14.1 for the gate.
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXSAVE: u64 = 1 << 18;
const BREAKPOINT_VECTOR: u64 = 3;
const INTERRUPT_GATE: u64 = 0x8e00;
const CODE_SELECTOR: u64 = 0x10;

/// The bit of XSAVE in CPUID leaf 1, ECX.
const CPUID_XSAVE: u32 = 1 << 26;

/// The result of a program that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProbeOutcome {
    /// The program completed; a timed one in this time.
    Through(Duration),
    /// The CPU reports that it has no such instruction: Linux does without it.
    NotOffered,
}

/// Run a program.
///
/// # Errors
/// When the program does not complete; the error says how it ended.
pub(super) fn run(kvm: &Kvm, program: &'static Program) -> Result<ProbeOutcome> {
    let cpuid = Cpus::new(kvm, 1, Features::default())?.cpuid(0)?;
    let features = cpuid.as_slice().iter().find(|leaf| leaf.function == 1);
    let has_xsave = features.is_some_and(|leaf| leaf.ecx & CPUID_XSAVE != 0);
    if program.xsave && !has_xsave {
        return Ok(ProbeOutcome::NotOffered);
    }
    let ram = Ram::new(MEMORY)?;
    write(program, ram.memory())?;
    let vm = machine(kvm, &ram)?;
    let vcpu = vm.create_vcpu(0).context("creating a vCPU")?;
    vcpu.set_cpuid2(&cpuid).context("setting CPUID")?;
    set_registers(&vcpu, program)?;
    watched(vm, vcpu, program.timed)
}

/// Write the program, the tables that the processor needs, and the breakpoint's gate.
fn write(program: &Program, memory: &Memory) -> Result<()> {
    start::write_tables(memory)?;
    // A gate is 16 bytes long: the offset in three parts, the selector, the type.
    let low = (BREAKPOINT & 0xffff) | CODE_SELECTOR << 16 | INTERRUPT_GATE << 32;
    let gate = low | (BREAKPOINT >> 16 & 0xffff) << 48;
    memory.write_obj(gate, GuestAddress(GATES + BREAKPOINT_VECTOR * 16))?;
    memory.write_slice(AT_BREAKPOINT, GuestAddress(BREAKPOINT))?;
    memory.write_slice(program.code, GuestAddress(CODE))?;
    Ok(())
}

fn machine(kvm: &Kvm, ram: &Ram) -> Result<VmFd> {
    let vm = kvm.create_vm().context("creating a virtual machine")?;
    ram.give_to(&vm)?;
    Ok(vm)
}

fn set_registers(vcpu: &VcpuFd, program: &Program) -> Result<()> {
    let mut sregs = start::sregs(vcpu.get_sregs().context("reading system registers")?);
    sregs.idt.base = GATES;
    sregs.idt.limit = 0xfff;
    sregs.cr4 |= CR4_OSFXSR | if program.xsave { CR4_OSXSAVE } else { 0 };
    vcpu.set_sregs(&sregs).context("setting system registers")?;
    let mut regs = start::regs(&EntryPoint { rip: CODE });
    regs.rsi = 0;
    regs.rdi = SCRATCH;
    regs.rsp = STACK;
    vcpu.set_regs(&regs).context("setting registers")?;
    vcpu.set_fpu(&start::fpu()).context("setting the FPU")
}

/// Run the vCPU in a thread, so that a program that hangs can be stopped.
fn watched(vm: VmFd, mut vcpu: VcpuFd, timed: bool) -> Result<ProbeOutcome> {
    kick::install();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let (result, results) = mpsc::channel();
    let body = move || {
        // The receiver is gone if the program took too long.
        let _ = result.send(through(&mut vcpu, timed, &stopped));
        drop(vm);
    };
    let thread = threads::start("probe", body).context("starting a thread")?;
    let outcome = results.recv_timeout(PATIENCE);
    stop.store(true, Ordering::Release);
    let _ = kick::join(thread); // A panic shows as a missing result.
    match outcome {
        Ok(outcome) => outcome.map(ProbeOutcome::Through),
        Err(RecvTimeoutError::Timeout) => Err(anyhow!("no answer for {} s", PATIENCE.as_secs())),
        Err(RecvTimeoutError::Disconnected) => Err(anyhow!("the probe's thread failed")),
    }
}

/// Run the vCPU until the program completes.
fn through(vcpu: &mut VcpuFd, timed: bool, stop: &AtomicBool) -> Result<Duration> {
    let mut first = None;
    for _ in 0..MOST_EXITS {
        if stop.load(Ordering::Acquire) {
            bail!("stopped");
        }
        match vcpu.run() {
            Ok(VcpuExit::IoOut(DONE, _)) => match (timed, first) {
                (true, None) => first = Some(Instant::now()),
                (_, first) => return Ok(first.map_or(Duration::ZERO, |first| first.elapsed())),
            },
            Ok(VcpuExit::Hlt) => bail!("wrong result"),
            Ok(VcpuExit::Shutdown) => bail!("triple fault"),
            Ok(VcpuExit::FailEntry(reason, _)) => bail!("entry refused, reason {reason:#x}"),
            Ok(VcpuExit::InternalError) => {
                bail!("KVM internal error {}", machine::internal_error(vcpu))
            }
            Ok(VcpuExit::Intr) => {}
            Ok(other) => bail!("unexpected exit {other:?}"),
            Err(error) if error.errno() == libc::EINTR => {}
            Err(error) => return Err(error).context("KVM_RUN"),
        }
    }
    bail!("{MOST_EXITS} exits and no end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::testing::skip::skip;

    static HANGS: Program = Program {
        name: "hangs",
        code: &[
            0xeb, 0xfe, // 1: jmp 1b
        ],
        timed: false,
        xsave: false,
    };

    static FAULTS: Program = Program {
        name: "faults",
        code: &[
            0x0f, 0x0b, // ud2
        ],
        timed: false,
        xsave: false,
    };

    /// The error of a program. Without KVM, the test is skipped.
    #[track_caller]
    fn said_of(program: &'static Program) -> Option<String> {
        match Kvm::new() {
            Ok(kvm) => Some(format!("{:#}", run(&kvm, program).unwrap_err())),
            Err(error) => {
                skip(&format!("/dev/kvm: {}", std::io::Error::from(error)));
                None
            }
        }
    }

    #[test]
    fn a_program_that_hangs_is_stopped() {
        let Some(said) = said_of(&HANGS) else { return };
        assert_eq!(said, "no answer for 2 s");
    }

    #[test]
    fn a_program_that_faults_is_reported() {
        let Some(said) = said_of(&FAULTS) else { return };
        // A CPU has a triple fault; an emulator may give up before.
        assert!(said.contains("fault") || said.contains("error"), "{said}");
    }
}
