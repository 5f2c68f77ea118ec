//! The end after an exception or a panic: what happened and where on COM1, then
//! the exit status [`EXIT_FAULTED`]. `start.s` comes here in user mode, on a
//! stack of its own, because the one in use may be what was wrong.

use core::panic::PanicInfo;

use crate::ports::{EXIT_FAULTED, exit};
use crate::start;

/// Names of the exceptions that occur in practice.
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

/// Report what [`start::noted_fault`] has.
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
