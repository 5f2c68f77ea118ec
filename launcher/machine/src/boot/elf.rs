//! Puts the loadable segments of an ELF kernel where they belong in guest
//! memory. From a plain file the bytes go straight into guest memory; a packed
//! kernel is a stream that is unpacked on the way.

mod source;

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use linux_loader::elf::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, EM_AARCH64, EM_RISCV, EM_X86_64, ET_CORE, ET_DYN,
    ET_EXEC, ET_REL, Elf64_Ehdr, Elf64_Phdr, PT_INTERP, PT_LOAD,
};
use vm_memory::{ByteValued, GuestMemoryBackend, GuestMemoryRegion};

use super::layout::LOW_MEMORY;
use crate::memory::{HOLE, Memory};
use source::ElfSource;
pub(super) use source::{ElfFile, ElfStream, read_into};

/// The bytes with which an ELF file begins.
pub(super) const MAGIC: &[u8] = b"\x7fELF";

/// The largest number of program headers that is accepted. Linux has four or five, notes included.
const MOST_SEGMENTS: u16 = 64;

/// A kernel in guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// The address of its first instruction, in 64-bit mode.
    pub(crate) entry: u64,
    /// The address from which on memory is free.
    pub(crate) end: u64,
}

/// Load the segments of a kernel into guest memory.
///
/// # Errors
/// When the file is not a kernel for this machine, or does not fit. An [`std::io::Error`] is
/// among the causes if, and only if, the file could not be read or unpacked.
pub(super) fn load(source: &mut impl ElfSource, memory: &Memory) -> Result<Loaded> {
    let mut header = Elf64_Ehdr::default();
    source.read(0, header.as_mut_slice()).context("reading the ELF header")?;
    check(header.as_slice())?;
    let mut segments = program_headers(&header, source)?;
    ensure!(
        segments.iter().all(|segment| segment.p_type != PT_INTERP),
        "a program that runs on Linux, not a kernel"
    );
    segments.retain(|segment| segment.p_type == PT_LOAD && segment.p_memsz > 0);
    let mut end = LOW_MEMORY;
    for segment in &segments {
        end = end.max(destination(segment, memory)?.end);
    }
    let starts = |segment: &Elf64_Phdr| {
        (segment.p_paddr..segment.p_paddr.saturating_add(segment.p_filesz))
            .contains(&header.e_entry)
    };
    ensure!(
        segments.iter().any(starts),
        "its entry point ({:#x}) is in none of its segments: not a Linux kernel",
        header.e_entry
    );
    // A stream cannot seek back.
    segments.sort_by_key(|segment| segment.p_offset);
    for segment in &segments {
        let to = segment.p_paddr..segment.p_paddr.saturating_add(segment.p_filesz);
        source.place(segment.p_offset, to, memory).context("loading a segment")?;
    }
    Ok(Loaded { entry: header.e_entry, end })
}

/// Check that a file that begins with `head` is a kernel for this machine.
///
/// # Errors
/// When it is not, or `head` is shorter than an ELF header. The text says what the file is.
pub(super) fn check(head: &[u8]) -> Result<()> {
    let length = size_of::<Elf64_Ehdr>();
    let Some(bytes) = head.get(..length) else {
        bail!("truncated file: it ends within its ELF header: copy it again")
    };
    let mut header = Elf64_Ehdr::default();
    header.as_mut_slice().copy_from_slice(bytes);
    ensure!(header.e_ident.starts_with(MAGIC), "not an ELF file");
    let identity = |index: usize| header.e_ident.get(index).copied();
    ensure!(
        identity(EI_DATA) == Some(ELFDATA2LSB),
        "a kernel for a big-endian machine: take the one for x86-64"
    );
    let wrong = match header.e_machine {
        EM_X86_64 => None,
        EM_AARCH64 => Some("arm64".to_string()),
        EM_RISCV => Some("RISC-V".to_string()),
        linux_loader::elf::EM_386 => Some("32-bit x86".to_string()),
        other => Some(format!("another machine (ELF machine {other})")),
    };
    if header.e_machine == linux_loader::elf::EM_386 && is_multiboot(head) {
        bail!(
            "a multiboot image (the Xen hypervisor, say), not a Linux kernel: lguest starts Linux \
             directly: give it the vmlinuz that such an image is to start"
        );
    }
    if let Some(machine) = wrong {
        bail!("a kernel for {machine}: take the one for x86-64 (amd64)");
    }
    ensure!(identity(EI_CLASS) == Some(ELFCLASS64), "a 32-bit kernel: take the 64-bit one");
    match header.e_type {
        ET_EXEC => Ok(()),
        ET_DYN => bail!("a program or shared library, not a kernel"),
        ET_REL => bail!("an object file or kernel module, not a kernel"),
        ET_CORE => bail!("a core dump, not a kernel"),
        other => bail!("an ELF file of type {other}, not a kernel"),
    }
}

/// Whether a boot loader like GRUB would start it by the Multiboot specification, 1 or 2. Both
/// have a header that begins with this number, aligned, in the first 8 or 32 KiB.
fn is_multiboot(head: &[u8]) -> bool {
    let magic = [0x1bad_b002_u32, 0xe852_50d6].map(u32::to_le_bytes);
    head.chunks_exact(4).any(|word| magic.iter().any(|magic| word == magic))
}

/// Check that the file has all bytes of its segments.
///
/// # Errors
/// When the file is truncated, or cannot be read.
pub(super) fn check_complete(elf: &mut ElfFile) -> Result<()> {
    let mut header = Elf64_Ehdr::default();
    elf.read(0, header.as_mut_slice()).context("reading the ELF header")?;
    check(header.as_slice())?;
    let length = elf.file.metadata().context("reading its size")?.len();
    let complete = program_headers(&header, elf)?
        .iter()
        .all(|segment| segment.p_offset.saturating_add(segment.p_filesz) <= length);
    ensure!(complete, "truncated file: it ends within a segment: copy it again");
    Ok(())
}

fn program_headers(header: &Elf64_Ehdr, source: &mut impl ElfSource) -> Result<Vec<Elf64_Phdr>> {
    ensure!(
        usize::from(header.e_phentsize) == size_of::<Elf64_Phdr>()
            && (1..=MOST_SEGMENTS).contains(&header.e_phnum),
        "its program headers make no sense: not a Linux kernel, or a damaged one"
    );
    let mut headers = vec![Elf64_Phdr::default(); usize::from(header.e_phnum)];
    let mut offset = header.e_phoff;
    for header in &mut headers {
        source.read(offset, header.as_mut_slice()).context("reading the program headers")?;
        offset = offset.saturating_add(size_of::<Elf64_Phdr>() as u64);
    }
    Ok(headers)
}

/// The addresses of a segment in guest memory.
fn destination(segment: &Elf64_Phdr, memory: &Memory) -> Result<Range<u64>> {
    let start = segment.p_paddr;
    ensure!(segment.p_filesz <= segment.p_memsz, "a segment is larger than its memory: damaged");
    let end = start.checked_add(segment.p_memsz).context("a segment wraps: damaged")?;
    segment.p_offset.checked_add(segment.p_filesz).context("a segment wraps: damaged")?;
    ensure_above_tables("a segment", start)?;
    ensure_ram(&(start..end), memory)?;
    Ok(start..end)
}

/// Check that `what` does not start below 1 MiB, where it would overwrite lguest's tables.
pub(super) fn ensure_above_tables(what: &str, start: u64) -> Result<()> {
    ensure!(start >= LOW_MEMORY, "{what} belongs at {start:#x}: kernels start at 1 MiB or above");
    Ok(())
}

/// Check that the range of a kernel is RAM, and below the hole: the page tables map no more
/// when the kernel starts.
pub(super) fn ensure_ram(range: &Range<u64>, memory: &Memory) -> Result<()> {
    let ram: u64 = memory.iter().map(GuestMemoryRegion::len).sum();
    ensure!(
        range.end <= HOLE.start,
        "the kernel belongs at {:#x} to {:#x}: lguest loads kernels below {} GiB",
        range.start,
        range.end,
        HOLE.start >> 30
    );
    ensure!(
        range.end <= ram,
        "the kernel does not fit: it needs {} MiB, the guest has {}: give the guest more memory",
        range.end.div_ceil(1 << 20),
        ram >> 20
    );
    Ok(())
}
