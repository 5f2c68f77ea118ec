//! The state in which Linux's 64-bit entry wants the boot CPU
//! (Documentation/arch/x86/boot.rst, "64-bit boot protocol"): long mode, all low
//! memory mapped to itself, flat segments, interrupts off, rsi at the zero page.
//! The other CPUs wait for their SIPI and get only [`set_msrs`].

use anyhow::{Context, Result, ensure};
use kvm_bindings::{Msrs, kvm_fpu, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress};

use super::EntryPoint;
use super::layout::{BOOT_PARAMS, GDT, PAGE_TABLES};
use crate::memory::Memory;

// Control register and page table bits (Intel SDM volume 3, 2.5, 4.5).
const CR0_PE: u64 = 1 << 0;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const PTE_PRESENT: u64 = 1 << 0;
const PTE_WRITABLE: u64 = 1 << 1;
const PDE_HUGE: u64 = 1 << 7;

const PAGE: u64 = 4096;
const HUGE_PAGE: u64 = 2 << 20;
/// The number of page directories. Each maps 1 GiB; four map everything below 4 GiB.
const DIRECTORIES: u64 = 4;

/// __BOOT_CS, which boot.rst fixes.
const CODE_SELECTOR: u16 = 0x10;
/// __BOOT_DS, which boot.rst fixes.
const DATA_SELECTOR: u16 = 0x18;
/// The selector of the task segment. The processor refuses to run a guest without one.
const TASK_SELECTOR: u16 = 0x20;

/// The global descriptor table: null, unused, 64-bit code, data, task (and its upper half). The
/// segments below have the contents of these descriptors.
const DESCRIPTORS: [u64; 6] =
    [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x0000_8b00_0000_0067, 0];

/// The limit of the global descriptor table: the offset of its last byte.
const GDT_LIMIT: u16 = 6 * 8 - 1;

const RFLAGS_RESERVED: u64 = 1 << 1;

/// The FPU control word after FNINIT, which the ABI expects.
const FCW_INITIAL: u16 = 0x37f;
/// MXCSR after a reset, which the ABI expects.
const MXCSR_INITIAL: u32 = 0x1f80;

const MSR_MISC_ENABLE: u32 = 0x1a0;
const MISC_ENABLE_FAST_STRING: u64 = 1 << 0;
const MSR_MTRR_DEF_TYPE: u32 = 0x2ff;
const MTRR_ENABLED: u64 = 1 << 11;
const MTRR_WRITE_BACK: u64 = 6;

/// Make a vCPU the boot CPU: its next instruction is the kernel's first.
///
/// # Errors
/// When KVM refuses a value.
pub fn set_up(vcpu: &VcpuFd, entry: &EntryPoint, memory: &Memory) -> Result<()> {
    write_tables(memory)?;
    let reset = vcpu.get_sregs().context("reading a vCPU's system registers (KVM_GET_SREGS)")?;
    vcpu.set_sregs(&sregs(reset)).context("setting a vCPU's system registers (KVM_SET_SREGS)")?;
    vcpu.set_regs(&regs(entry)).context("setting a vCPU's registers (KVM_SET_REGS)")?;
    vcpu.set_fpu(&fpu()).context("setting a vCPU's FPU (KVM_SET_FPU)")?;
    set_msrs(vcpu)
}

/// Set the MSRs of a CPU. Every CPU needs them, not only the first: Linux compares their MTRRs.
///
/// # Errors
/// When KVM refuses one.
pub fn set_msrs(vcpu: &VcpuFd) -> Result<()> {
    let entries = msrs();
    let list = Msrs::from_entries(&entries).context("making a list of MSRs")?;
    let done = vcpu.set_msrs(&list).context("setting a vCPU's MSRs (KVM_SET_MSRS)")?;
    let refused = entries.get(done).map_or(0, |entry| entry.index);
    ensure!(done == entries.len(), "setting a vCPU's MSRs: KVM refuses MSR {refused:#x}");
    Ok(())
}

/// Write the descriptor table and the page tables to which [`sregs`] points.
///
/// # Errors
/// When the guest has no memory there.
pub fn write_tables(memory: &Memory) -> Result<()> {
    let write = |address: u64, entries: &[u64]| {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        memory.write_slice(&bytes, GuestAddress(address)).context("writing the page tables")
    };
    write(GDT, &DESCRIPTORS)?;
    let pointers = PAGE_TABLES + PAGE;
    let directories = pointers + PAGE;
    let table = PTE_PRESENT | PTE_WRITABLE;
    write(PAGE_TABLES, &[pointers | table])?;
    let entries: Vec<u64> =
        (0..DIRECTORIES).map(|gib| (directories + gib * PAGE) | table).collect();
    write(pointers, &entries)?;
    let entries: Vec<u64> =
        (0..DIRECTORIES * 512).map(|page| (page * HUGE_PAGE) | PDE_HUGE | table).collect();
    write(directories, &entries)
}

/// The system registers for 64-bit mode. Registers that are not set here stay as in `reset`.
pub fn sregs(reset: kvm_sregs) -> kvm_sregs {
    let data = segment(DATA_SELECTOR, 0x3);
    let mut sregs = kvm_sregs {
        cs: kvm_segment { l: 1, db: 0, ..segment(CODE_SELECTOR, 0xb) },
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        // A busy 64-bit task segment. Nothing reads it.
        tr: kvm_segment { limit: 0x67, s: 0, g: 0, db: 0, ..segment(TASK_SELECTOR, 0xb) },
        cr0: CR0_PE | CR0_ET | CR0_PG,
        cr3: PAGE_TABLES,
        cr4: CR4_PAE,
        efer: EFER_LME | EFER_LMA,
        ..reset
    };
    sregs.gdt.base = GDT;
    sregs.gdt.limit = GDT_LIMIT;
    sregs.idt.limit = 0;
    sregs
}

/// A flat segment for data, in 32-bit terms.
fn segment(selector: u16, type_: u8) -> kvm_segment {
    kvm_segment {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..Default::default()
    }
}

/// The general registers of the boot CPU.
#[must_use]
pub fn regs(entry: &EntryPoint) -> kvm_regs {
    kvm_regs { rip: entry.rip, rsi: BOOT_PARAMS, rflags: RFLAGS_RESERVED, ..Default::default() }
}

/// The floating-point registers after a reset.
#[must_use]
pub fn fpu() -> kvm_fpu {
    kvm_fpu { fcw: FCW_INITIAL, mxcsr: MXCSR_INITIAL, ..Default::default() }
}

/// The MSRs of each CPU: memory is cached unless the page tables say otherwise, and string
/// instructions are fast.
fn msrs() -> [kvm_msr_entry; 2] {
    let entry = |index, data| kvm_msr_entry { index, data, ..Default::default() };
    [
        entry(MSR_MTRR_DEF_TYPE, MTRR_ENABLED | MTRR_WRITE_BACK),
        entry(MSR_MISC_ENABLE, MISC_ENABLE_FAST_STRING),
    ]
}
