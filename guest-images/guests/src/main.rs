//! probe: a bare-metal guest that tests lguest where Linux does not boot, is too slow, or behaves
//! too well.
//!
//! **Building**: `cargo build --release --manifest-path guest-images/guests/Cargo.toml` creates
//! `guest-images/guests/target/release/probe`, an ELF file that lguest starts like a vmlinux. It is
//! compiled for the host's target, because toolchains do not include a bare-metal target.
//! `build.rs` and `link.ld` ensure that nothing of an operating system is linked.
//!
//! **Running**: `lguest 64 probe mode=NAME[=VALUE] [OPTION]...`; [`modes::MODES`] lists the names.
//! Reports go to COM1 (`--earlycon`). The console's modes print on the console. The guest powers
//! off when its mode is done. If it fails, it writes an exit status: [`ports::EXIT_FAILED`] if it
//! could not do what it was told (the reason is on COM1), [`ports::EXIT_FAULTED`] after an
//! exception.
//!
//! Everything runs in user mode with access to all ports, because kernel mode is slow and
//! incomplete on hosts without hardware virtualization. `start.s` is the part that has to run in
//! kernel mode. Memory is identity-mapped. To understand the code, read [`start`] and [`modes`],
//! then the console driver from the top ([`console`]) to the bottom ([`virtio`], [`queue`],
//! [`ring`], [`pci`], [`memory`]).

#![no_std]
#![no_main]

#[macro_use]
mod serial;

mod boot_params;
mod console;
mod fault;
mod interrupts;
mod modes;
mod msix;
mod pci;
mod queue;
mod ring;
mod second;
mod virtio;

#[expect(unsafe_code, reason = "the compiler's memory functions, in assembly")]
mod compiler;
#[expect(unsafe_code, reason = "volatile access to memory that is not Rust's")]
mod memory;
#[expect(unsafe_code, reason = "page tables are found by their addresses")]
mod paging;
#[expect(unsafe_code, reason = "port instructions")]
mod ports;
#[expect(unsafe_code, reason = "the boundary to start.s")]
mod start;

use boot_params::BootParams;

/// The entry point from `start.s`, in user mode, with the address of the zero page.
extern "C" fn main(zero_page: u64) -> ! {
    let boot_params = BootParams::at(zero_page);
    let mut buffer = [0; 2048];
    let arguments = boot_params.command_line(&mut buffer);
    modes::run(&arguments, &boot_params);
    ports::power_off();
}
