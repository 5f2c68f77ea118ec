//! From the files that the user named to a vCPU that can start: the kernel,
//! unpacked where it is packed ([`kernel`], [`elf`]), the [`initrd`]s, the
//! command line ([`cmdline`]) and the zero page ([`params`]) in guest memory;
//! then the boot CPU's registers ([`start`]). All of this happens again at each
//! reboot of the guest.

mod bzimage;
pub mod cmdline;
mod elf;
mod file;
mod image;
mod initrd;
mod initrd_memory;
pub mod inside;
mod kernel;
pub(crate) mod layout;
mod lz4;
mod params;
pub(crate) mod progress;
mod release;
pub mod start;
pub mod unpack;

#[cfg(test)]
mod tests;

use std::ffi::OsString;

use anyhow::{Context, Result};

use crate::memory::Memory;
use cmdline::KernelVerbosity;
pub use file::BootFiles;
use file::NamedFile;
use kernel::Kernel;
pub use release::release;

/// What to start.
#[derive(Debug, Clone)]
pub struct BootRequest<'a> {
    kernel: &'a NamedFile,
    initrds: &'a [NamedFile],
    /// Words of the kernel command line.
    pub(crate) arguments: &'a [OsString],
    /// The guest has a serial port, for early messages.
    pub serial: bool,
    /// How much it is to say.
    pub verbosity: KernelVerbosity,
    /// Words that tell the guest its network addresses.
    pub addresses: Vec<String>,
    /// More words, unless the user gave a parameter of the same name.
    pub more: Vec<String>,
}

impl<'a> BootRequest<'a> {
    /// These files with these words, and nothing else: no serial port, a quiet kernel.
    pub fn new(files: &'a BootFiles, arguments: &'a [OsString]) -> Self {
        Self {
            kernel: &files.kernel,
            initrds: &files.initrds,
            arguments,
            serial: false,
            verbosity: KernelVerbosity::Quiet,
            addresses: Vec::new(),
            more: Vec::new(),
        }
    }
}

/// Where the boot CPU starts, in the state that [`start::set_up`] gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPoint {
    /// Address of the first instruction, in 64-bit mode.
    pub rip: u64,
}

/// The command line that a kernel gets, if it takes as much.
///
/// # Errors
/// When no kernel takes it.
pub fn command_line(request: &BootRequest<'_>) -> Result<String> {
    Ok(cmdline::build(request, u32::MAX)?.to_string_lossy().into_owned())
}

/// Put all that a kernel needs into guest memory, which must be empty.
///
/// # Errors
/// When a file is not what it should be, or all of it does not fit. One line,
/// which names the file and says what to do.
pub fn load(request: &BootRequest<'_>, memory: &Memory) -> Result<EntryPoint> {
    let name = || request.kernel.to_string();
    let kernel = Kernel::open(request.kernel).with_context(name)?;
    let header = params::header(kernel.setup());
    let line = cmdline::build(request, header.cmdline_size)?;
    log::info!("kernel command line: {}", line.to_string_lossy());
    let loaded = kernel.load(memory).with_context(name)?;
    let highest = u64::from(header.initrd_addr_max);
    let half = initrd_memory::is_tmpfs(request.arguments);
    let initrd = initrd::load(request.initrds, loaded, highest, half, memory)?;
    params::write(header, &line, initrd, memory)?;
    Ok(EntryPoint { rip: loaded.entry })
}
