//! Functions that the compiler calls to copy and compare memory, and that a C library would
//! provide. They use string instructions, so that there is no loop which the compiler could replace
//! by a call to the function itself. The file also defines the symbols for unwinding to which the
//! prebuilt `core` refers. Nothing ever unwinds here.

use core::arch::asm;

/// # Safety
/// The contract of the C function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract is that of an ascending `rep movsb`.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= length {
        // SAFETY: an ascending copy reads each byte before it overwrites it.
        return unsafe { memcpy(to, from, length) };
    }
    // SAFETY: the caller's contract; a descending copy reads each byte before it overwrites it. The
    // direction flag is restored, as the ABI requires.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") length => _,
            inout("rdi") to.wrapping_add(length).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(length).wrapping_sub(1) => _, options(nostack));
    }
    to
}

/// # Safety
/// The contract of the C function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller's contract.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _,
            in("al") byte.to_le_bytes()[0], options(nostack, preserves_flags));
    }
    to
}

/// # Safety
/// The contract of the C function.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    for at in 0..length {
        // SAFETY: the caller's contract.
        let left = unsafe { left.wrapping_add(at).read_volatile() };
        // SAFETY: the caller's contract.
        let right = unsafe { right.wrapping_add(at).read_volatile() };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// # Safety
/// The contract of the C function.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's contract.
    unsafe { memcmp(left, right, length) }
}

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crate::ports::exit(crate::ports::EXIT_FAULTED);
}
