//! Prepares the start of a kernel from the files that the user named: the kernel,
//! unpacked if it is packed ([`kernel`], [`elf`]), the [`initrd`]s, the
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

/// The kernel to start, with its initrds and its command line.
#[derive(Debug, Clone)]
pub struct BootRequest<'a> {
    kernel: &'a NamedFile,
    initrds: &'a [NamedFile],
    /// The words of the kernel command line that the user gave.
    pub(crate) arguments: &'a [OsString],
    /// The guest has a serial port, for early messages.
    pub serial: bool,
    /// How much the kernel prints on its console.
    pub verbosity: KernelVerbosity,
    /// Words of the command line with the guest's network addresses.
    pub addresses: Vec<String>,
    /// More words of the command line. A parameter that the user gave replaces the one of the same
    /// name.
    pub more: Vec<String>,
}

impl<'a> BootRequest<'a> {
    /// A request for these files with these words: without a serial port, with a quiet kernel.
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

/// The place at which the boot CPU starts, in the state that [`start::set_up`] gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPoint {
    /// The address of the first instruction, in 64-bit mode.
    pub rip: u64,
}

/// The command line of a kernel that has no limit of its own.
///
/// # Errors
/// When the line is too long for any kernel, or Linux could not parse it.
pub fn command_line(request: &BootRequest<'_>) -> Result<String> {
    Ok(cmdline::build(request, u32::MAX)?.to_string_lossy().into_owned())
}

/// Put the kernel and all that it needs into guest memory, which must be empty.
///
/// # Errors
/// When a file is not a kernel or an initrd, or they do not fit. The text is one line,
/// which names the file and has advice.
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
