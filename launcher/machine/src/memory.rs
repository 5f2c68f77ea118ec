//! Guest memory: where RAM lies in the guest's physical address space, and the
//! one host mapping behind it. Every queue thread reads and writes it.

mod file;
mod pagemap;

use std::fs;
use std::io;
use std::ops::Range;

use anyhow::{Context, Result, anyhow, ensure};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use nix::libc::RLIM_INFINITY;
use nix::sys::resource::{Resource, getrlimit};
use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap,
    MemoryRegionAddress,
};

use crate::sys;

pub use devices::Memory;
pub use file::checksum;

/// Guest physical addresses below 4 GiB that are for devices. RAM below 4 GiB ends where they
/// begin, at the latest.
pub(crate) const HOLE: Range<u64> = 0xc000_0000..0x1_0000_0000;

/// The part of [`HOLE`] in which PCI devices have their registers. The I/O
/// APIC, the local APICs and KVM's own pages come after it.
pub const PCI_WINDOW: Range<u64> = 0xc000_0000..0xfec0_0000;

/// ACPI tables lie here, in the area that PCs have for firmware: RAM, but
/// reserved in the map that the guest gets. The RSDP comes first.
pub(crate) const ACPI: Range<u64> = 0xe_0000..BIOS_ENTRY;

/// The address at which a PC enters its BIOS (f000:fff0). The area from here to 1 MiB is reserved.
pub(crate) const BIOS_ENTRY: u64 = 0xf_fff0;

/// The RAM of one launcher: one host mapping for the life of the process, so
/// that no pointer into it can outlive it. A guest that reboots gets the memory emptied.
#[derive(Debug)]
pub struct Ram {
    mapping: sys::Mapping,
    memory: Memory,
}

impl Ram {
    /// Reserve `size` bytes (a multiple of 1 MiB). The host gives pages when
    /// the guest first touches them.
    ///
    /// # Errors
    /// When the address space of the process or the host's limits do not allow that much.
    pub fn new(size: u64) -> Result<Self> {
        let bytes = usize::try_from(size)?;
        let mapping = sys::Mapping::reserve(bytes)
            .map_err(explain)
            .with_context(|| format!("reserving {} MiB of guest memory", size >> 20))?;
        let mut regions = Vec::new();
        for (guest, offset) in placement(size) {
            let length = usize::try_from(guest.end - guest.start)?;
            let region = mapping.region(usize::try_from(offset)?, length)?;
            let region = GuestRegionMmap::new(region, GuestAddress(guest.start));
            regions.push(region.context("guest memory wraps the address space")?);
        }
        Ok(Self { mapping, memory: Memory::from_regions(regions)? })
    }

    /// The memory at its guest physical addresses. A clone shares the mapping, and is cheap.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Bytes of memory.
    pub fn size(&self) -> u64 {
        self.memory.iter().map(GuestMemoryRegion::len).sum()
    }

    /// Give all of the memory to a virtual machine.
    ///
    /// # Errors
    /// When KVM refuses a region.
    pub fn give_to(&self, vm: &VmFd) -> Result<()> {
        for (slot, region) in self.memory.iter().enumerate() {
            let host = region.get_host_address(MemoryRegionAddress(0))?;
            let region = kvm_userspace_memory_region {
                slot: u32::try_from(slot)?,
                flags: 0,
                guest_phys_addr: region.start_addr().raw_value(),
                memory_size: region.len(),
                userspace_addr: u64::try_from(host.addr())?,
            };
            sys::set_memory_region(vm, region).with_context(|| {
                format!("giving the guest {} MiB of memory", region.memory_size >> 20)
            })?;
        }
        Ok(())
    }

    /// Give every page back to the host: the guest finds zeroes, as after
    /// power-on. No vCPU and no queue thread may be running.
    ///
    /// # Errors
    /// When the host refuses (madvise, or mmap in place of a file).
    pub fn empty(&self) -> Result<()> {
        self.mapping.empty().context("emptying guest memory")
    }
}

/// The error that names the host's limit which the reservation exceeds.
fn explain(error: io::Error) -> anyhow::Error {
    if error.raw_os_error() != Some(libc::ENOMEM) {
        return error.into();
    }
    let limit = getrlimit(Resource::RLIMIT_AS).map_or(RLIM_INFINITY, |(limit, _)| limit);
    if limit != RLIM_INFINITY {
        return anyhow!(
            "the address space of this process is limited to {} MiB: raise that (ulimit -v \
             unlimited; LimitAS= of a service), or give the guest less memory",
            limit >> 20
        );
    }
    let strict = fs::read_to_string("/proc/sys/vm/overcommit_memory");
    match strict.is_ok_and(|setting| setting.trim() == "2") {
        true => anyhow!(
            "the host promises no more memory than it has (vm.overcommit_memory is 2): give the \
             guest less memory, or run sysctl vm.overcommit_memory=0 as root"
        ),
        false => anyhow!("{error}: give the guest less memory"),
    }
}

/// The places of `size` bytes of RAM: guest physical ranges, each with its offset
/// in the host mapping.
fn placement(size: u64) -> Vec<(Range<u64>, u64)> {
    let low = size.min(HOLE.start);
    let mut ranges = vec![(0..low, 0)];
    if size > low {
        ranges.push((HOLE.end..HOLE.end + (size - low), low));
    }
    ranges
}

/// Check that a Linux kernel can start in `size` bytes of memory, and that KVM can map them.
///
/// # Errors
/// When the size is below 32 MiB or above 1 TiB.
pub fn check_size(size: u64) -> Result<()> {
    ensure!(size >= 32 << 20, "{} MiB of memory: a Linux guest needs at least 32", size >> 20);
    ensure!(size <= 1 << 40, "{} MiB of memory: 1048576 (1 TiB) is the most", size >> 20);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_below_the_hole_is_one_range() {
        assert_eq!(placement(512 << 20), vec![(0..512 << 20, 0)]);
        assert_eq!(placement(3 << 30), vec![(0..3 << 30, 0)]);
    }

    #[test]
    fn memory_beyond_three_gib_continues_at_four() {
        let expected = vec![(0..3 << 30, 0), (4 << 30..(4 << 30) + (1 << 20), 3 << 30)];
        assert_eq!(placement((3 << 30) + (1 << 20)), expected);
    }
}
