//! The setup header of a bzImage (Documentation/arch/x86/boot.rst): where the
//! packed kernel is, and the limits that a boot loader has to keep. The zero page
//! ([`super::params`]) contains a copy.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use linux_loader::bootparam::{XLF_KERNEL_64, setup_header};
use vm_memory::{ByteValued, Bytes, GuestAddress};

use super::elf::{Loaded, ensure_above_tables, ensure_ram};
use crate::memory::Memory;

/// The offset of the header, in the file as in the zero page.
const HEADER: usize = 0x1f1;
/// The offset of "HdrS". The byte before it is the distance of a jump over the header,
/// which gives the header's length.
const MAGIC: usize = 0x202;
const MAGIC_HDRS: &[u8] = b"HdrS";
/// The unit, in bytes, in which the header has the length of the protected-mode code (boot.rst:
/// syssize).
const PARAGRAPH: u64 = 16;
/// The 64-bit entry point, from the start of the protected-mode code.
const ENTRY_64: u64 = 0x200;
/// The oldest boot protocol that lguest starts: 2.08 (Linux 2.6.26), whose header has the place of
/// the packed kernel.
const OLDEST: u16 = 0x208;
/// The boot protocol that brought a flag for the 64-bit entry: 2.12 (Linux 3.8).
const XLOADFLAGS: u16 = 0x20c;

/// A bzImage's setup header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SetupHeader(pub(crate) setup_header);

impl SetupHeader {
    /// The header in the first bytes of a file. `None` if the file is not a bzImage.
    ///
    /// # Errors
    /// When the bzImage cannot be started.
    pub(crate) fn find(head: &[u8]) -> Result<Option<Self>> {
        if head.get(MAGIC..MAGIC + MAGIC_HDRS.len()) != Some(MAGIC_HDRS) {
            return Ok(None);
        }
        let jump = head.get(MAGIC - 1).copied().unwrap_or(0);
        let end = MAGIC + usize::from(jump);
        let mut header = setup_header::default();
        let (bytes, found) = (header.as_mut_slice(), head.get(HEADER..end).unwrap_or_default());
        // Older kernels have a shorter header; later ones may have a longer.
        let length = bytes.len().min(found.len());
        if let (Some(to), Some(from)) = (bytes.get_mut(..length), found.get(..length)) {
            to.copy_from_slice(from);
        }
        ensure!(length > 0, "truncated file: it ends within its setup header: copy it again");
        let version = header.version;
        ensure!(
            version >= OLDEST,
            "boot protocol {}.{:02}: lguest starts kernels from 2.08 (Linux 2.6.26) on",
            version >> 8,
            version & 0xff
        );
        let xloadflags = header.xloadflags;
        ensure!(
            version < XLOADFLAGS || xloadflags & XLF_KERNEL_64 != 0,
            "a 32-bit kernel: take the 64-bit one (amd64, x86_64)"
        );
        Ok(Some(Self(header)))
    }

    /// The offset of the protected-mode code in the file.
    fn code_start(&self) -> u64 {
        // boot.rst: 0 means 4.
        let sectors = if self.0.setup_sects == 0 { 4 } else { self.0.setup_sects };
        (u64::from(sectors) + 1) * 512
    }

    /// Check that the file is as long as its header says. The header counts in paragraphs of 16
    /// bytes, and the last one need not be full.
    ///
    /// # Errors
    /// When the file is shorter.
    pub(crate) fn check_length(&self, length: u64) -> Result<()> {
        let syssize = self.0.syssize;
        let needed = self.code_start() + u64::from(syssize) * PARAGRAPH;
        ensure!(
            length.next_multiple_of(PARAGRAPH) >= needed,
            "truncated file: it has {length} bytes, its header speaks of {needed}: copy it again"
        );
        Ok(())
    }

    /// The range of the packed kernel in the file.
    pub(crate) fn payload(&self) -> Range<u64> {
        let (offset, length) = (self.0.payload_offset, self.0.payload_length);
        let start = self.code_start() + u64::from(offset);
        start..start + u64::from(length)
    }

    /// The offset of a text that begins with the kernel's release, if the file has one
    /// (boot.rst: kernel_version).
    pub(crate) fn version_text(&self) -> Option<u64> {
        let offset = self.0.kernel_version;
        (offset != 0).then(|| u64::from(offset) + 0x200)
    }

    /// Put the bzImage itself into guest memory, to be started at its own 64-bit entry:
    /// the guest will unpack the kernel.
    ///
    /// # Errors
    /// When the bzImage has no 64-bit entry, does not fit, or cannot be read.
    pub(crate) fn load(&self, file: &mut File, memory: &Memory) -> Result<Loaded> {
        let (version, init_size) = (self.0.version, self.0.init_size);
        ensure!(version >= XLOADFLAGS, "no 64-bit entry: kernels have one from Linux 3.8 on");
        let start = self.0.pref_address;
        let length = file.metadata().context("reading its size")?.len();
        let size = length.saturating_sub(self.code_start());
        let end = start.saturating_add(u64::from(init_size).max(size));
        ensure_above_tables("it", start)?;
        ensure_ram(&(start..end), memory)?;
        file.seek(SeekFrom::Start(self.code_start())).context("reading the kernel")?;
        memory
            .read_exact_volatile_from(GuestAddress(start), file, usize::try_from(size)?)
            .context("reading the kernel")?;
        Ok(Loaded { entry: start + ENTRY_64, end })
    }
}
