//! The end after an exception or a panic: prints on COM1 what happened and where, then exits with
//! [`EXIT_FAULTED`]. `start.s` calls this in user mode on a separate stack, because the stack in
//! use may be the reason of the fault.

use core::panic::PanicInfo;

use crate::ports::{EXIT_FAULTED, exit};
use crate::start;

/// Returns the name of an exception that occurs in practice.
fn name(vector: u64) -> &'static str {
    match vector {
        0 => "#DE",
        3 => "#BP",
        6 => "#UD",
        8 => "#DF",
        11 => "#NP",
        12 => "#SS",
        13 => "#GP",
        14 => "#PF",
        17 => "#AC",
        32.. => "unexpected interrupt",
        _ => "exception",
    }
}

/// Prints what [`start::noted_fault`] returns.
pub(crate) extern "C" fn report() -> ! {
    let [vector, error, rip, cs, rflags, rsp, cr2] = start::noted_fault();
    report!("probe: fault {vector} {} error {error:#x} at rip {rip:#x}", name(vector));
    report!("  cs {cs:#x} rflags {rflags:#x} rsp {rsp:#x} cr2 {cr2:#x}");
    exit(EXIT_FAULTED);
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    report!("probe: {info}");
    exit(EXIT_FAULTED);
}
