//! The boundary to `start.s`: what it starts, what it counts and notes down, and
//! the few functions that it runs in kernel mode for us.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::memory::Region;
use crate::ports;

/// Where the second CPU starts, in real mode: a page below 1 MiB that nobody has.
pub(crate) const SECOND_PAGE: u64 = 0x8000;

/// Interrupt vectors and exceptions that there are descriptors for.
pub(crate) const VECTORS: usize = 64;

/// How often each vector was interrupted by, and all together.
static COUNTS: [AtomicU64; VECTORS] = [const { AtomicU64::new(0) }; VECTORS];
static TOTAL: AtomicU64 = AtomicU64::new(0);

/// What `start.s` noted down about an exception, and whether it did.
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

/// A function that runs in kernel mode, from `start.s`.
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

/// Put the second CPU's first instructions where it starts.
pub(crate) fn place_second_start() {
    // SAFETY: the page is RAM below the image (link.ld), and nobody's.
    unsafe { copy_second_start() }
}

/// How often a vector was interrupted by.
pub(crate) fn count(vector: u8) -> u64 {
    COUNTS.get(usize::from(vector)).map_or(0, |count| count.load(Ordering::Acquire))
}

/// All interrupts so far.
pub(crate) fn total() -> u64 {
    TOTAL.load(Ordering::Acquire)
}

/// An exception: vector, error code, rip, cs, rflags, rsp, cr2.
pub(crate) fn noted_fault() -> [u64; 7] {
    FAULT.each_ref().map(|word| word.load(Ordering::Acquire))
}

/// Sleep until there were more than `total` interrupts.
pub(crate) fn halt_unless_more_than(total: u64) {
    // SAFETY: the function keeps the calling convention and touches no memory.
    unsafe { kernel_call(halt_unless_new, total) }
}

/// Halt with interrupts off: nothing but the host can end this.
pub(crate) fn halt_for_good() -> ! {
    // SAFETY: the function does not come back.
    unsafe { kernel_call(halt_forever, 0) }
    ports::stop();
}

/// From here on nobody interrupts.
pub(crate) fn disable_interrupts() {
    // SAFETY: as above; nothing relies on interrupts for its soundness.
    unsafe { kernel_call(interrupts_off, 0) }
}

/// A triple fault: an exception that cannot be delivered, because the interrupt
/// descriptor table at `base` ends at `limit`, or has nothing that is present.
pub(crate) fn triple_fault(limit: u16, base: u64) -> ! {
    let register = Region::take(16, 16);
    register.write(0, limit);
    register.write_unaligned(2, base);
    // SAFETY: the function does not come back.
    unsafe { kernel_call(load_idt_and_fault, register.address()) }
    ports::stop();
}

/// Have KVM emulate what it cannot. `nowhere` is an address without memory.
pub(crate) fn fail_emulation(nowhere: u64) -> ! {
    // SAFETY: it goes on at `nowhere`, if at all; there are no instructions.
    unsafe { kernel_call(cannot_be_emulated, nowhere) }
    ports::stop();
}
