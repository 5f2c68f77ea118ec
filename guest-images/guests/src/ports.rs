//! Port I/O, and the ports at which a guest ends.

use core::arch::asm;
use core::hint::spin_loop;

/// A byte written here ends the guest; it is lguest's exit status.
pub(crate) const EXIT_STATUS: u16 = 0x501;
/// The guest could not do what it was told.
pub(crate) const EXIT_FAILED: u8 = 98;
/// The guest met an exception.
pub(crate) const EXIT_FAULTED: u8 = 99;

/// Panicked (docs/specs/pvpanic of QEMU): bit 0.
const PVPANIC: u16 = 0x505;
/// ACPI's PM1 control register (ACPI 6.5, 4.8.3.2.1): type in bits 10 to 12,
/// enable in bit 13. The type for off is in the tables' _S5_; lguest's is 5.
const PM1_CONTROL: u16 = 0x604;
const SLEEP_TYPE_OFF: u16 = 5;
const SLEEP_ENABLE: u16 = 1 << 13;
/// ACPI's reset register (4.8.3.6) and what the FADT says to write into it.
const ACPI_RESET: u16 = 0x608;
const ACPI_RESET_VALUE: u8 = 1;
/// The chipset's reset control: bit 1 selects a hard reset, bit 2 does it.
const RESET_CONTROL: u16 = 0xcf9;
/// The keyboard controller: status has bit 1 set while it is busy, and the
/// command 0xfe pulls the reset line.
const KEYBOARD: u16 = 0x64;
const KEYBOARD_BUSY: u8 = 1 << 1;
const KEYBOARD_RESET: u8 = 0xfe;

/// A width in which ports are accessed.
pub(crate) trait Width: Copy {
    /// `in`.
    fn read(port: u16) -> Self;
    /// `out`.
    fn write(port: u16, value: Self);
}

macro_rules! width {
    ($type:ty, $register:tt) => {
        impl Width for $type {
            fn read(port: u16) -> Self {
                let value: $type;
                // SAFETY: no device of this machine touches Rust's memory when
                // its ports are read.
                unsafe {
                    asm!(concat!("in ", $register, ", dx"), in("dx") port,
                        out($register) value, options(nostack, preserves_flags));
                }
                value
            }

            fn write(port: u16, value: Self) {
                // SAFETY: as above; no port starts a transfer to memory.
                unsafe {
                    asm!(concat!("out dx, ", $register), in("dx") port,
                        in($register) value, options(nostack, preserves_flags));
                }
            }
        }
    };
}

width!(u8, "al");
width!(u16, "ax");
width!(u32, "eax");

/// Read a port.
pub(crate) fn read<T: Width>(port: u16) -> T {
    T::read(port)
}

/// Write a port.
pub(crate) fn write<T: Width>(port: u16, value: T) {
    T::write(port, value);
}

/// For after the last word to the host: it stops us when it comes to it.
pub(crate) fn stop() -> ! {
    loop {
        spin_loop();
    }
}

/// End with an exit status.
pub(crate) fn exit(status: u8) -> ! {
    write(EXIT_STATUS, status);
    stop();
}

/// Switch the machine off.
pub(crate) fn power_off() -> ! {
    write(PM1_CONTROL, SLEEP_TYPE_OFF << 10 | SLEEP_ENABLE);
    stop();
}

/// What a kernel does that has panicked. The host need not end it.
pub(crate) fn panicked() -> ! {
    write(PVPANIC, 1_u8);
    stop();
}

/// Reset by the register that the ACPI tables name.
pub(crate) fn reset_by_acpi() -> ! {
    write(ACPI_RESET, ACPI_RESET_VALUE);
    stop();
}

/// Reset by the chipset, in the two steps of Linux's reboot=pci.
pub(crate) fn reset_by_chipset() -> ! {
    let kept = read::<u8>(RESET_CONTROL) & !6;
    write(RESET_CONTROL, kept | 2);
    write(RESET_CONTROL, kept | 6);
    stop();
}

/// Reset by the keyboard controller, when it has time.
pub(crate) fn reset_by_keyboard() -> ! {
    while read::<u8>(KEYBOARD) & KEYBOARD_BUSY != 0 {}
    write(KEYBOARD, KEYBOARD_RESET);
    stop();
}
