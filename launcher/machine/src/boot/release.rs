//! The release of a kernel file: what `uname -r` prints in the guest. The kernel refuses modules of
//! another release.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result};

use super::BootFiles;
use super::kernel::Kernel;

/// The text that every kernel contains, followed by its release.
const BANNER: &[u8] = b"Linux version ";

/// The length in bytes of the longest release (struct new_utsname).
const LONGEST: usize = 64;

/// The size in bytes of the pieces in which a kernel is searched.
const PIECE: usize = 1 << 20;

/// The release of the kernel. `None` if the file does not contain it.
///
/// # Errors
/// When the file is not a kernel.
pub fn release(files: &BootFiles) -> Result<Option<String>> {
    let name = || files.kernel.to_string();
    let kernel = Kernel::open(&files.kernel).with_context(name)?;
    let found = match kernel {
        Kernel::Elf(plain) => find(plain.file),
        Kernel::Packed(_, bytes) => find(bytes),
        Kernel::BzImage(file, setup, _) => match setup.version_text() {
            Some(at) => in_header(file, at),
            None => Ok(None),
        },
    };
    found.with_context(name)
}

/// The text that the header of a bzImage points to.
fn in_header(mut file: File, at: u64) -> Result<Option<String>> {
    file.seek(SeekFrom::Start(at)).context("reading it")?;
    let mut text = Vec::new();
    file.take(LONGEST as u64).read_to_end(&mut text).context("reading it")?;
    Ok(first_word(&text))
}

/// The release that follows the banner, somewhere in these bytes.
fn find(mut bytes: impl Read) -> Result<Option<String>> {
    let (mut piece, mut kept) = (vec![0; PIECE], Vec::new());
    loop {
        let count = bytes.read(&mut piece).context("reading it")?;
        kept.extend_from_slice(piece.get(..count).unwrap_or_default());
        let last = kept.len().saturating_sub(if count == 0 { 0 } else { BANNER.len() + LONGEST });
        let starts = kept.windows(BANNER.len()).take(last).enumerate();
        let mut starts = starts.filter(|(_, window)| *window == BANNER);
        let found = starts.find_map(|(at, _)| {
            let text = kept.get(at + BANNER.len()..)?;
            // Kernels also contain a format: "Linux version %s".
            text.first().is_some_and(u8::is_ascii_digit).then(|| first_word(text)).flatten()
        });
        if found.is_some() || count == 0 {
            return Ok(found);
        }
        kept.drain(..last);
    }
}

fn first_word(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| !byte.is_ascii_graphic())?;
    let word = text.get(..end).filter(|word| !word.is_empty())?;
    Some(String::from_utf8_lossy(word).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns at most this number of bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn the_banner_is_found_wherever_it_is() {
        let text = b"..Linux version %s\0..Linux version 6.1.0-56-cloud-amd64 (debian)\0....";
        let padded = [&[0; 300][..], text, &[0; 300]].concat();
        for bytes in [&text[..], &padded] {
            for piece in [1, 7, 64, 100, 1 << 20] {
                let found = find(Slow(bytes, piece)).unwrap();
                assert_eq!(found.as_deref(), Some("6.1.0-56-cloud-amd64"), "{piece}");
            }
        }
        assert_eq!(find(&b"Linux version %s"[..]).unwrap(), None);
    }
}
