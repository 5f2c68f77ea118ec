//! The zero page (Documentation/arch/x86/zero-page.rst): the parameters that a boot loader gives
//! to Linux. The boot CPU has its address in rsi, see [`super::start`].

use std::ffi::CStr;
use std::ops::Range;

use anyhow::{Context, Result};
use linux_loader::bootparam::{LOADED_HIGH, boot_e820_entry, boot_params, setup_header};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use super::bzimage::SetupHeader;
use super::layout::{BOOT_PARAMS, COMMAND_LINE, LEGACY_HOLE, LOW_MEMORY};
use crate::memory::{ACPI, Memory};

/// The type of a boot loader that has no number of its own (boot.rst).
const TYPE_OF_LOADER: u8 = 0xff;
const BOOT_FLAG: u16 = 0xaa55;
const HEADER: u32 = u32::from_le_bytes(*b"HdrS");
/// The boot protocol that is assumed of a kernel without a setup header.
const VERSION: u16 = 0x20f;
const KERNEL_ALIGNMENT: u32 = 2 << 20;

// Types of memory in the e820 map (ACPI 6.5, 15.1).
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

/// The length in bytes of the longest command line of Linux on x86, without its NUL.
const COMMAND_LINE_LIMIT: u32 = 2047;

/// The highest address of an initrd for a kernel without a setup header: 2 GiB, which all kernels
/// that lguest starts have in theirs.
const INITRD_HIGHEST: u32 = 0x7fff_ffff;

/// The header that the guest gets, and that has all limits. It is the header of the
/// bzImage, or for a plain ELF file one with the limits of all kernels.
pub(super) fn header(setup: Option<SetupHeader>) -> setup_header {
    let mut header = setup.map_or_else(
        || setup_header {
            boot_flag: BOOT_FLAG,
            header: HEADER,
            version: VERSION,
            kernel_alignment: KERNEL_ALIGNMENT,
            initrd_addr_max: INITRD_HIGHEST,
            cmdline_size: COMMAND_LINE_LIMIT,
            ..Default::default()
        },
        |setup| setup.0,
    );
    header.type_of_loader = TYPE_OF_LOADER;
    header.loadflags |= LOADED_HIGH;
    header
}

/// Write the command line and the zero page.
///
/// # Errors
/// When the guest has no memory there.
pub(super) fn write(
    mut header: setup_header,
    line: &CStr,
    initrd: Option<Range<u64>>,
    memory: &Memory,
) -> Result<()> {
    memory
        .write_slice(line.to_bytes_with_nul(), GuestAddress(COMMAND_LINE.start))
        .context("writing the kernel command line")?;
    header.cmd_line_ptr = u32::try_from(COMMAND_LINE.start)?;
    if let Some(initrd) = initrd {
        header.ramdisk_image = u32::try_from(initrd.start)?;
        header.ramdisk_size = u32::try_from(initrd.end - initrd.start)?;
    }
    let mut params = boot_params { acpi_rsdp_addr: ACPI.start, hdr: header, ..Default::default() };
    let map = e820(memory);
    params.e820_entries = u8::try_from(map.len())?;
    // The struct is packed: its table cannot be borrowed, only replaced.
    let mut table = params.e820_table;
    for (slot, entry) in table.iter_mut().zip(map) {
        *slot = entry;
    }
    params.e820_table = table;
    memory.write_obj(params, GuestAddress(BOOT_PARAMS)).context("writing the zero page")
}

/// The memory map. All addresses that are not in it are for devices.
fn e820(memory: &Memory) -> Vec<boot_e820_entry> {
    let entry = |range: Range<u64>, kind| boot_e820_entry {
        addr: range.start,
        size: range.end - range.start,
        r#type: kind,
    };
    let mut map =
        vec![entry(0..LEGACY_HOLE, E820_RAM), entry(LEGACY_HOLE..LOW_MEMORY, E820_RESERVED)];
    for region in memory.iter() {
        let start = region.start_addr().raw_value();
        let end = start + region.len();
        map.push(entry(start.max(LOW_MEMORY)..end, E820_RAM));
    }
    map
}
