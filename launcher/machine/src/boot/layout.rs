//! The addresses of what lguest puts into the guest's memory for the kernel's start. All of
//! it is below 1 MiB, where no kernel is loaded. The kernel may reuse the memory
//! once it has read it.

use std::ops::Range;

/// The address of the global descriptor table of [`super::start`].
pub(crate) const GDT: u64 = 0x500;

/// The address of the "zero page", see [`super::params`].
pub(crate) const BOOT_PARAMS: u64 = 0x7000;

/// The address of six pages of page tables, see [`super::start`].
pub(crate) const PAGE_TABLES: u64 = 0x9000;

/// The area for the kernel command line with its final NUL.
pub(crate) const COMMAND_LINE: Range<u64> = 0x2_0000..0x3_0000;

/// The address at which RAM ends, to continue at [`LOW_MEMORY`]: a PC has its video memory and its
/// firmware in between.
pub(crate) const LEGACY_HOLE: u64 = 0xa_0000;

/// The lowest address to which kernels and initrds are loaded.
pub(crate) const LOW_MEMORY: u64 = 0x10_0000;
