//! The machine's whole firmware: a few instructions where a PC's BIOS is
//! entered. A kernel that jumps there wants the machine reset. Linux does, with
//! `reboot=bios`, and by default on hardware-reduced ACPI without EFI
//! (arch/x86/kernel/reboot.c, `BOOT_EFI` falling back to `BOOT_BIOS`).

use anyhow::{Context, Result};
use vm_memory::{Bytes, GuestAddress};

use crate::memory::{BIOS_ENTRY, Memory};

/// The instructions, in real mode: write "reset the CPU" to the reset control register (answered
/// in [`crate::ports`]), and wait until that happens.
const RESET: [u8; 10] = [
    0xba, 0xf9, 0x0c, // mov dx, 0xcf9
    0xb0, 0x06, // mov al, 6
    0xee, // out dx, al
    0xfa, // cli
    0xf4, // hlt
    0xeb, 0xfd, // jmp to the hlt
];

/// Write the firmware to the place where a PC has its BIOS.
///
/// # Errors
/// When the guest has no memory there.
pub fn write(memory: &Memory) -> Result<()> {
    memory.write_slice(&RESET, GuestAddress(BIOS_ENTRY)).context("writing the BIOS entry")
}
