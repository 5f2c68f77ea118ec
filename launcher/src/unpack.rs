//! `lguest unpack KERNEL OUTPUT`: the ELF file inside a kernel, written to a
//! file, for debuggers and for starts that do not unpack.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use host::{progress, standard};
use machine::boot::inside::ElfInside;

/// Write the ELF file inside `kernel` to `output`.
///
/// # Errors
/// When `kernel` is not a kernel, or `output` cannot be written. `output` is unchanged then.
pub(crate) fn unpack(kernel: &Path, output: &Path) -> Result<()> {
    let elf =
        ElfInside::open(kernel, progress::watch).with_context(|| kernel.display().to_string())?;
    let written = || format!("writing {}", output.display());
    let directory = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // A device or pipe is written to directly; a file is replaced when the new one is complete.
    if let Some(mut output) = device(output).with_context(written)? {
        let mut file = tempfile::tempfile().with_context(written)?;
        elf.copy_to(&mut file).with_context(|| kernel.display().to_string())?;
        file.rewind().with_context(written)?;
        io::copy(&mut file, &mut output).with_context(written)?;
        return Ok(());
    }
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .with_context(written)?;
    elf.copy_to(file.as_file_mut()).with_context(|| kernel.display().to_string())?;
    file.persist(output).map_err(|e| e.error).with_context(written)?;
    Ok(())
}

/// An existing file that is not a regular file, open for writing. (Checked twice: another user may
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_not_a_kernel_leaves_the_output_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let [kernel, output] = ["kernel", "vmlinux"].map(|name| directory.path().join(name));
        fs::write(&output, "as before").unwrap();
        // The second one begins like a gzip file.
        for bytes in [b"hello".to_vec(), [b"\x1f\x8b\x08".as_slice(), &[0; 100]].concat()] {
            fs::write(&kernel, bytes).unwrap();
            unpack(&kernel, &output).unwrap_err();
            assert_eq!(fs::read(&output).unwrap(), b"as before");
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
        }
    }
}
