//! Port I/O, and the ports that end a guest.

use core::arch::asm;
use core::hint::spin_loop;

/// The port whose byte ends the guest and becomes lguest's exit status.
pub(crate) const EXIT_STATUS: u16 = 0x501;
/// The exit status of a guest that could not do what it was told.
pub(crate) const EXIT_FAILED: u8 = 98;
/// The exit status of a guest that met an exception.
pub(crate) const EXIT_FAULTED: u8 = 99;

/// The port of pvpanic (docs/specs/pvpanic of QEMU). Bit 0 means panicked.
const PVPANIC: u16 = 0x505;
/// ACPI's PM1 control register (ACPI 6.5, 4.8.3.2.1): sleep type in bits 10 to 12, enable in bit
/// 13. The object _S5_ of the tables has the type for power-off, which is 5 in lguest.
const PM1_CONTROL: u16 = 0x604;
const SLEEP_TYPE_OFF: u16 = 5;
const SLEEP_ENABLE: u16 = 1 << 13;
/// ACPI's reset register (4.8.3.6), and the value that the FADT says to write into it.
const ACPI_RESET: u16 = 0x608;
const ACPI_RESET_VALUE: u8 = 1;
/// The chipset's reset control: bit 1 selects a hard reset, bit 2 triggers it.
const RESET_CONTROL: u16 = 0xcf9;
/// The keyboard controller: bit 1 of its status is set while it is busy, and the command 0xfe pulls
/// the reset line.
const KEYBOARD: u16 = 0x64;
const KEYBOARD_BUSY: u8 = 1 << 1;
const KEYBOARD_RESET: u8 = 0xfe;

/// A type of the width of a port access.
pub(crate) trait Width: Copy {
    /// The instruction `in`.
    fn read(port: u16) -> Self;
    /// The instruction `out`.
    fn write(port: u16, value: Self);
}

macro_rules! width {
    ($type:ty, $register:tt) => {
        impl Width for $type {
            fn read(port: u16) -> Self {
                let value: $type;
                // SAFETY: no device of this machine touches Rust's memory when its ports are read.
                unsafe {
                    asm!(concat!("in ", $register, ", dx"), in("dx") port,
                        out($register) value, options(nostack, preserves_flags));
                }
                value
            }

            fn write(port: u16, value: Self) {
                // SAFETY: no device of this machine touches Rust's memory when its ports are
                // written.
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

/// Reads a port.
pub(crate) fn read<T: Width>(port: u16) -> T {
    T::read(port)
}

/// Writes a port.
pub(crate) fn write<T: Width>(port: u16, value: T) {
    T::write(port, value);
}

/// Waits for the host to end the guest, after the last access to a port.
pub(crate) fn stop() -> ! {
    loop {
        spin_loop();
    }
}

/// Ends the guest with an exit status.
pub(crate) fn exit(status: u8) -> ! {
    write(EXIT_STATUS, status);
    stop();
}

/// Powers the machine off.
pub(crate) fn power_off() -> ! {
    write(PM1_CONTROL, SLEEP_TYPE_OFF << 10 | SLEEP_ENABLE);
    stop();
}

/// Does what a kernel does that has panicked. The host need not end the guest.
pub(crate) fn panicked() -> ! {
    write(PVPANIC, 1_u8);
    stop();
}

/// Resets by the register that the ACPI tables name.
pub(crate) fn reset_by_acpi() -> ! {
    write(ACPI_RESET, ACPI_RESET_VALUE);
    stop();
}

/// Resets by the chipset, in the two steps of Linux's reboot=pci.
pub(crate) fn reset_by_chipset() -> ! {
    let kept = read::<u8>(RESET_CONTROL) & !6;
    write(RESET_CONTROL, kept | 2);
    write(RESET_CONTROL, kept | 6);
    stop();
}

/// Resets by the keyboard controller, when it is not busy.
pub(crate) fn reset_by_keyboard() -> ! {
    while read::<u8>(KEYBOARD) & KEYBOARD_BUSY != 0 {}
    write(KEYBOARD, KEYBOARD_RESET);
    stop();
}
