//! Puts the initial file systems into guest memory, one after another, as high
//! as the kernel accepts them. The kernel is already in place.

mod format;

use std::fs::File;
use std::io::Seek;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::elf::{self, Loaded};
use super::file::{self, NamedFile};
use super::initrd_memory::{self, InitrdMemory};
use crate::memory::{HOLE, Memory};

/// The alignment of each archive in bytes. Linux skips the zeroes in between
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
const ARCHIVE_ALIGNMENT: u64 = 4;

const PAGE: u64 = 4096;

/// Load all of `initrds` between the end of the `kernel` and the highest address that it
/// accepts. Returns the range of addresses, or `None` if there are no initrds. `half` as in
/// [`InitrdMemory`].
///
/// # Errors
/// When an initrd cannot be read, or they do not fit.
pub(super) fn load(
    initrds: &[NamedFile],
    kernel: Loaded,
    highest: u64,
    half: bool,
    memory: &Memory,
) -> Result<Option<Range<u64>>> {
    let mut files = Vec::new();
    let mut total = 0_u64;
    for initrd in initrds {
        let (file, length) = open(initrd).with_context(|| initrd.as_initrd())?;
        files.push((initrd, file, length));
        let start = total.checked_next_multiple_of(ARCHIVE_ALIGNMENT);
        let end = start.and_then(|start| start.checked_add(length));
        total = end.with_context(|| format!("{}: larger than any memory", initrd.as_initrd()))?;
    }
    if total == 0 {
        return Ok(None);
    }
    let start = place(total, kernel.end, highest, memory).with_context(|| names(initrds))?;
    // Linux' entry is at its beginning. The memory below is free.
    let size = kernel.end.saturating_sub(kernel.entry);
    let available = InitrdMemory { ram: ram(memory), kernel: size, packed: total, half };
    check_memory(&files, available).with_context(|| names(initrds))?;
    let mut address = start;
    for (initrd, mut file, length) in files {
        address = address.next_multiple_of(ARCHIVE_ALIGNMENT);
        let to = address..address + length;
        let progress = (initrd.watch)(&initrd.as_initrd(), length);
        elf::read_into(&mut file, to, memory, progress)
            .context("reading it")
            .with_context(|| initrd.as_initrd())?;
        address += length;
    }
    Ok(Some(start..start + total))
}

/// The name of several initrds in messages: for the guest, they are one.
fn names(initrds: &[NamedFile]) -> String {
    let names: Vec<_> = initrds.iter().map(ToString::to_string).collect();
    format!("initrd {}", names.join(" + "))
}

fn open(initrd: &NamedFile) -> Result<(File, u64)> {
    let mut file = initrd.open()?;
    let length = file.metadata().context("reading its size")?.len();
    ensure!(length > 0, "it is empty: leave it out, or build it again");
    let head = file::head(&mut file, format::HEAD)?;
    file.rewind().context("reading it")?;
    if let Some(complaint) = format::complaint(&head) {
        log::warn!("{}: {complaint}", initrd.as_initrd());
    }
    Ok((file, length))
}

/// Check that the guest has the memory to unpack the initrds.
fn check_memory(files: &[(&NamedFile, File, u64)], available: InitrdMemory) -> Result<()> {
    let mut needed = 0_u64;
    for (_, file, length) in files {
        needed = needed.saturating_add(initrd_memory::unpacked(file, *length, available.ram)?);
        // Loading reads the file from its beginning.
        (&*file).rewind().context("reading it")?;
    }
    let there = available.for_files();
    ensure!(
        needed <= there,
        "it does not fit: unpacked it has {} MiB, and the guest has room for {} of its {} MiB: \
         give the guest more memory ({}M)",
        needed.div_ceil(1 << 20),
        there >> 20,
        available.ram >> 20,
        available.wanted(needed),
    );
    Ok(())
}

fn ram(memory: &Memory) -> u64 {
    memory.iter().map(GuestMemoryRegion::len).sum()
}

/// The address for `total` bytes, as high as possible.
fn place(total: u64, free_from: u64, highest: u64, memory: &Memory) -> Result<u64> {
    let ram = ram(memory);
    let top = ram.min(HOLE.start).min(highest.saturating_add(1));
    let start = top.checked_sub(total).map(|start| start - start % PAGE);
    start.filter(|&start| start >= free_from.next_multiple_of(PAGE)).with_context(|| {
        format!(
            "it does not fit: it has {} MiB, and {} of the guest's {} MiB are left \
             beside the kernel: give the guest more memory",
            total.div_ceil(1 << 20),
            top.saturating_sub(free_from) >> 20,
            ram >> 20,
        )
    })
}
