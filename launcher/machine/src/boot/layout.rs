//! Where things lie in the guest's memory before its kernel takes over. All of
//! it is below 1 MiB, where no kernel is loaded, and is the kernel's to reuse
//! once it has read it.

use std::ops::Range;

/// The global descriptor table of [`super::start`].
pub(crate) const GDT: u64 = 0x500;

/// The "zero page", [`super::params`].
pub(crate) const BOOT_PARAMS: u64 = 0x7000;

/// Six pages of page tables, [`super::start`].
pub(crate) const PAGE_TABLES: u64 = 0x9000;

/// The kernel command line with its final NUL.
pub(crate) const COMMAND_LINE: Range<u64> = 0x2_0000..0x3_0000;

/// RAM ends here, to go on at [`LOW_MEMORY`]: a PC has its video memory and its
/// firmware in between.
pub(crate) const LEGACY_HOLE: u64 = 0xa_0000;

/// Kernels and initrds are loaded from here on.
pub(crate) const LOW_MEMORY: u64 = 0x10_0000;
