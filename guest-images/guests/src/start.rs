//! The interface to `start.s`: its entry points, its counters, and the functions that run in kernel
//! mode.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::memory::Region;
use crate::ports;

/// The page where the second CPU starts in real mode. It is below 1 MiB and otherwise unused.
pub(crate) const SECOND_PAGE: u64 = 0x8000;

/// The number of interrupt vectors and exceptions that have descriptors.
pub(crate) const VECTORS: usize = 64;

/// The number of interrupts of each vector, and of all vectors together.
static COUNTS: [AtomicU64; VECTORS] = [const { AtomicU64::new(0) }; VECTORS];
static TOTAL: AtomicU64 = AtomicU64::new(0);

/// What `start.s` has recorded about an exception, and whether there was one.
static FAULT: [AtomicU64; 7] = [const { AtomicU64::new(0) }; 7];
static FAULT_COUNT: AtomicU64 = AtomicU64::new(0);

global_asm!(
    include_str!("start.s"),
    main = sym crate::main,
    counts = sym COUNTS,
    total = sym TOTAL,
    fault = sym FAULT,
    fault_count = sym FAULT_COUNT,
    report_fault = sym crate::fault::report,
    second_main = sym crate::second::main,
    second_page = const SECOND_PAGE,
    exit_port = const ports::EXIT_STATUS,
    exit_faulted = const ports::EXIT_FAULTED,
);

/// A function in `start.s` that runs in kernel mode.
type KernelFunction = unsafe extern "C" fn(u64);

unsafe extern "C" {
    fn kernel_call(function: KernelFunction, argument: u64);
    fn copy_second_start();
    fn halt_unless_new(total: u64);
    fn halt_forever(nothing: u64);
    fn interrupts_off(nothing: u64);
    fn load_idt_and_fault(register: u64);
    fn cannot_be_emulated(nowhere: u64);
}

/// Copies the second CPU's first instructions to the page where it starts.
pub(crate) fn place_second_start() {
    // SAFETY: the page is RAM below the image (link.ld), and otherwise unused.
    unsafe { copy_second_start() }
}

/// Returns the number of interrupts of a vector.
pub(crate) fn count(vector: u8) -> u64 {
    COUNTS.get(usize::from(vector)).map_or(0, |count| count.load(Ordering::Acquire))
}

/// Returns the number of all interrupts.
pub(crate) fn total() -> u64 {
    TOTAL.load(Ordering::Acquire)
}

/// Returns what was recorded about an exception: vector, error code, rip, cs, rflags, rsp, cr2.
pub(crate) fn noted_fault() -> [u64; 7] {
    FAULT.each_ref().map(|word| word.load(Ordering::Acquire))
}

/// Sleeps until there were more than `total` interrupts.
pub(crate) fn halt_unless_more_than(total: u64) {
    // SAFETY: the function keeps the calling convention and touches no memory.
    unsafe { kernel_call(halt_unless_new, total) }
}

/// Halts with interrupts disabled, so that only the host can end the guest.
pub(crate) fn halt_for_good() -> ! {
    // SAFETY: the function does not return.
    unsafe { kernel_call(halt_forever, 0) }
    ports::stop();
}

/// Disables interrupts.
pub(crate) fn disable_interrupts() {
    // SAFETY: the function keeps the calling convention, and nothing relies on interrupts for its
    // soundness.
    unsafe { kernel_call(interrupts_off, 0) }
}

/// Causes a triple fault: an exception that cannot be delivered, because the interrupt descriptor
/// table at `base` ends at `limit` or has no present entries.
pub(crate) fn triple_fault(limit: u16, base: u64) -> ! {
    let register = Region::take(16, 16);
    register.write(0, limit);
    register.write_unaligned(2, base);
    // SAFETY: the function does not return.
    unsafe { kernel_call(load_idt_and_fault, register.address()) }
    ports::stop();
}

/// Makes KVM emulate an instruction that it cannot emulate. `nowhere` is an address without memory.
pub(crate) fn fail_emulation(nowhere: u64) -> ! {
    // SAFETY: execution would continue at `nowhere`, where there are no instructions.
    unsafe { kernel_call(cannot_be_emulated, nowhere) }
    ports::stop();
}
