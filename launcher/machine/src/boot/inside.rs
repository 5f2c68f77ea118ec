//! The ELF file inside a kernel file, for debuggers and for starts that do not unpack.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::elf::{self, ElfFile};
use super::file::NamedFile;
use super::kernel::{self, Kernel, PackedElf};
use super::progress::{BeginReport, unwatched};

/// The size in bytes of the largest kernel, its debugging information included.
const LARGEST: u64 = 4 << 30;

/// The ELF file inside a kernel file, before it is unpacked.
pub struct ElfInside(PackedElf);

impl ElfInside {
    /// Find the ELF file inside `kernel`. `watch` is notified of the progress of
    /// reading it.
    ///
    /// # Errors
    /// When `kernel` cannot be read, or has no ELF file inside.
    pub fn open(kernel: &Path, watch: BeginReport) -> Result<Self> {
        match Kernel::open(&NamedFile::new(kernel, watch))? {
            Kernel::Elf(plain) => Ok(Self(Box::new(plain.file))),
            Kernel::Packed(_, bytes) => Ok(Self(bytes)),
            Kernel::BzImage(file, setup, watch) => {
                Ok(Self(kernel::payload(&file, &setup, watch)?.1))
            }
        }
    }

    /// Copy the ELF file to an empty file, and check that it is complete.
    ///
    /// # Errors
    /// When the ELF file cannot be unpacked or written, or is not complete.
    pub fn copy_to(self, file: &mut File) -> Result<()> {
        let length = io::copy(&mut self.0.take(LARGEST), file).context("unpacking it")?;
        ensure!(length < LARGEST, "unpacking it: larger than any kernel");
        let file = file.try_clone().context("checking it")?;
        elf::check_complete(&mut ElfFile { file, watch: unwatched })
    }
}
