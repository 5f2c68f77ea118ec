//! `lguest unpack KERNEL OUTPUT`: the ELF file inside a kernel, written to a
//! file, for debuggers and for starts that do not unpack.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use host::standard;

use super::elf;
use super::file::NamedFile;
use super::kernel::{self, Kernel, PackedElf};

/// No kernel is larger, its debugging information included.
const LARGEST_ELF: u64 = 4 << 30;

/// Write the ELF file inside `kernel` to `output`.
///
/// # Errors
/// When there is no kernel in it, or it cannot be written; `output` is as before then.
pub(crate) fn unpack(kernel: &Path, output: &Path) -> Result<()> {
    let mut bytes = elf_inside(kernel).with_context(|| kernel.display().to_string())?;
    let written = || format!("writing {}", output.display());
    let directory = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // A device or pipe is written to; a file is replaced once the new one is whole.
    if let Some(mut output) = device(output).with_context(written)? {
        let mut file = tempfile::tempfile().with_context(written)?;
        copy(&mut bytes, &mut file).with_context(|| kernel.display().to_string())?;
        file.rewind().with_context(written)?;
        io::copy(&mut file, &mut output).with_context(written)?;
        return Ok(());
    }
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .with_context(written)?;
    copy(&mut bytes, file.as_file_mut()).with_context(|| kernel.display().to_string())?;
    file.persist(output).map_err(|e| e.error).with_context(written)?;
    Ok(())
}

/// An existing file that is not a regular file, open for writing. (Looked at twice: somebody may
/// have put a link to a file there in between.)
fn device(path: &Path) -> io::Result<Option<File>> {
    if !path.metadata().is_ok_and(|there| !there.is_file()) {
        return Ok(None);
    }
    let file = match standard::duplicate(path)? {
        Some(file) => file,
        None => OpenOptions::new().write(true).open(path)?,
    };
    Ok(if file.metadata()?.is_file() { None } else { Some(file) })
}

fn elf_inside(path: &Path) -> Result<PackedElf> {
    match Kernel::open(&NamedFile::new(path))? {
        Kernel::Elf(file) => Ok(Box::new(file)),
        Kernel::Packed(_, bytes) => Ok(bytes),
        Kernel::BzImage(file, setup) => Ok(kernel::payload(&file, &setup)?.1),
    }
}

/// Copy all of an ELF file, and see that it is all.
fn copy(bytes: &mut PackedElf, file: &mut File) -> Result<()> {
    let length = io::copy(&mut bytes.take(LARGEST_ELF), file).context("unpacking it")?;
    ensure!(length < LARGEST_ELF, "unpacking it: larger than any kernel");
    elf::check_complete(file)
}
