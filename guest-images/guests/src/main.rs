//! probe: a bare-metal guest with which lguest tests itself where Linux does
//! not boot, or would be too slow or too well-behaved.
//!
//! **Built** by `cargo build --release --manifest-path guest-images/guests/Cargo.toml`
//! into `guest-images/guests/target/release/probe`: an ELF file that lguest
//! starts like a vmlinux. It is compiled for the host's own target, because
//! toolchains come without a bare-metal one; `build.rs` and `link.ld` see to it
//! that nothing of an operating system is linked.
//!
//! **Run** by `lguest 64 probe mode=NAME[=VALUE] [OPTION]...`; the names are in
//! [`modes::MODES`]. Reports go to COM1 (`--earlycon`), the console's modes speak
//! on the console. A mode that is done powers off. A guest that fails writes an
//! exit status: [`ports::EXIT_FAILED`] if it could not do what it was told (it
//! says why on COM1), [`ports::EXIT_FAULTED`] after an exception.
//!
//! All of it runs in user mode, with access to all ports, because kernel mode is
//! slow and incomplete on hosts without hardware virtualization; `start.s` is what
//! has to be in kernel mode. Memory is mapped to itself. To read: [`start`] and
//! [`modes`]; then the console driver from the top ([`console`]) to the bottom
//! ([`virtio`], [`queue`], [`ring`], [`pci`], [`memory`]).

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

/// Where `start.s` goes to, in user mode, with the address of the zero page.
extern "C" fn main(zero_page: u64) -> ! {
    let boot_params = BootParams::at(zero_page);
    let mut buffer = [0; 2048];
    let arguments = boot_params.command_line(&mut buffer);
    modes::run(&arguments, &boot_params);
    ports::power_off();
}
