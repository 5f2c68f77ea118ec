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
    use std::io::Read;

    use flate2::Compression;
    use flate2::read::GzEncoder;
    use tempfile::TempDir;

    use super::*;

    /// An ELF executable for x86-64 whose one segment is the whole file.
    fn elf() -> Vec<u8> {
        let mut file = vec![0; 200_000];
        for (at, bytes) in [
            (0, &b"\x7fELF\x02\x01\x01"[..]),
            (16, &[2, 0, 62, 0]),             // e_type, e_machine
            (32, &[64]),                      // e_phoff
            (54, &[56, 0, 1, 0]),             // e_phentsize, e_phnum
            (64, &[1]),                       // p_type: PT_LOAD
            (96, &200_000_u32.to_le_bytes()), // p_filesz
        ] {
            file[at..at + bytes.len()].copy_from_slice(bytes);
        }
        file
    }

    /// gzip without compression, so that the file can be cut in the middle.
    fn packed() -> Vec<u8> {
        let (elf, mut packed) = (elf(), Vec::new());
        GzEncoder::new(elf.as_slice(), Compression::none()).read_to_end(&mut packed).unwrap();
        packed
    }

    /// Unpacks a kernel to a file that exists. Returns the result and what is in the file then.
    fn unpacked(kernel: &[u8]) -> (Result<()>, Vec<u8>) {
        let directory = TempDir::new().unwrap();
        let [input, output] = ["kernel", "vmlinux"].map(|name| directory.path().join(name));
        fs::write(&input, kernel).unwrap();
        fs::write(&output, "as before").unwrap();
        let result = unpack(&input, &output);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "files are left");
        (result, fs::read(&output).unwrap())
    }

    #[test]
    fn the_elf_inside_replaces_the_output() {
        let (result, output) = unpacked(&packed());
        result.unwrap();
        assert!(output == elf());
    }

    #[test]
    fn a_damaged_kernel_leaves_the_output_as_it_was() {
        for kernel in [&b"hello"[..], &packed()[..150_000]] {
            let (result, output) = unpacked(kernel);
            result.unwrap_err();
            assert_eq!(output, b"as before");
        }
    }
}
