//! Unpacks the archive that a command needs: its files and modules, in a cpio archive of the form
//! "newc", as Linux takes for an initial file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst). The archive comes in pieces, and
//! nothing of it is kept in memory twice.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;

/// Bytes of a header: a magic number of 6 characters, and 13 numbers of 8.
const HEADER: usize = 110;

/// The magic number.
const MAGIC: &[u8] = b"070701";

/// The name of the last entry.
const TRAILER: &[u8] = b"TRAILER!!!";

/// An archive that is being unpacked.
#[derive(Debug, Default)]
pub(crate) struct Unpacker {
    /// Bytes that are not enough for the next step.
    bytes: Vec<u8>,
    /// The file that is being written.
    current: Option<Contents>,
    /// Whether the trailer was the last entry.
    is_complete: bool,
    /// The first error. What comes after it is ignored.
    failed: Option<String>,
}

/// The contents of an entry.
#[derive(Debug)]
struct Contents {
    place: PathBuf,
    /// The file; `None` for a link, whose target is gathered.
    file: Option<File>,
    target: Vec<u8>,
    /// How many bytes of the contents are still to come.
    left: usize,
    /// How many bytes follow, up to the next multiple of 4.
    padding: usize,
}

impl Unpacker {
    /// Unpacks a piece of the archive.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.failed = Some(format!("unpacking the files (--file, --load): {error}"));
                    self.bytes.clear();
                    return;
                }
            }
        }
    }

    /// Checks that everything was unpacked.
    ///
    /// # Errors
    /// The first error, or that the archive has no end.
    pub(crate) fn finish(self) -> Result<(), String> {
        match self.failed {
            Some(why) => Err(why),
            None if self.is_complete => Ok(()),
            None => Err("the files (--file, --load) are not complete".into()),
        }
    }

    /// Does the next step. Returns false if there are not enough bytes for it.
    fn step(&mut self) -> io::Result<bool> {
        match self.current.take() {
            None => self.begin_entry(),
            Some(contents) => self.write(contents),
        }
    }

    /// Creates the file of the next entry.
    fn begin_entry(&mut self) -> io::Result<bool> {
        let Some(header) = self.bytes.get(..HEADER) else { return Ok(false) };
        let number = |index: usize| {
            let start = MAGIC.len() + index * 8;
            let digits = header.get(start..start + 8).and_then(|it| std::str::from_utf8(it).ok());
            digits.and_then(|digits| u32::from_str_radix(digits, 16).ok())
        };
        let fields = (number(1), number(6), number(11));
        let (Some(mode), Some(size), Some(name_size)) = fields else { return broken() };
        if !header.starts_with(MAGIC) {
            return broken();
        }
        let size = usize::try_from(size).map_err(io::Error::other)?;
        // The name ends with a byte 0, and is padded together with the header.
        let name_end = HEADER + usize::try_from(name_size).map_err(io::Error::other)?;
        let end = name_end.next_multiple_of(4);
        if self.bytes.len() < end {
            return Ok(false);
        }
        let name = self.bytes.get(HEADER..name_end.saturating_sub(1)).unwrap_or_default();
        let is_trailer = name == TRAILER;
        let place = Path::new("/").join(OsStr::from_bytes(name));
        self.bytes.drain(..end);
        self.is_complete = is_trailer;
        if is_trailer {
            return Ok(true);
        }
        let permissions = Permissions::from_mode(mode & 0o7777);
        let file = match SFlag::from_bits_truncate(mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => {
                fs::create_dir_all(&place)?;
                fs::set_permissions(&place, permissions)?;
                return Ok(true);
            }
            SFlag::S_IFREG => {
                let file = File::create(&place)?;
                file.set_permissions(permissions)?;
                Some(file)
            }
            SFlag::S_IFLNK => None,
            _ => return broken(),
        };
        let padding = size.next_multiple_of(4) - size;
        self.current = Some(Contents { place, file, target: Vec::new(), left: size, padding });
        Ok(true)
    }

    /// Writes the bytes of a file that are there.
    fn write(&mut self, mut contents: Contents) -> io::Result<bool> {
        let count = contents.left.min(self.bytes.len());
        let piece = self.bytes.get(..count).unwrap_or_default();
        match &mut contents.file {
            Some(file) => file.write_all(piece)?,
            None => contents.target.extend_from_slice(piece),
        }
        self.bytes.drain(..count);
        contents.left = contents.left.saturating_sub(count);
        if contents.left > 0 || self.bytes.len() < contents.padding {
            self.current = Some(contents);
            return Ok(false);
        }
        self.bytes.drain(..contents.padding);
        if contents.file.is_none() {
            symlink(OsStr::from_bytes(&contents.target), &contents.place)?;
        }
        Ok(true)
    }
}

fn broken<T>() -> io::Result<T> {
    Err(io::Error::other("the archive is broken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, mode: u32, contents: &[u8]) -> Vec<u8> {
        let mut bytes = b"070701".to_vec();
        let length = u32::try_from(contents.len()).unwrap();
        let name_size = u32::try_from(name.len() + 1).unwrap();
        for field in [1, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_size, 0] {
            bytes.extend(format!("{field:08x}").bytes());
        }
        bytes.extend(name.bytes().chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(contents);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn files_come_out_however_the_archive_comes() {
        for piece in [1, 7, 4096] {
            let all = tempfile::tempdir().unwrap();
            let at = |name: &str| all.path().join(name);
            let inside =
                |name: &str| at(name).to_str().unwrap().trim_start_matches('/').to_string();
            let archive = [
                entry(&inside("d"), 0o040_700, b""),
                entry(&inside("d/file"), 0o100_755, b"some\0bytes"),
                entry(&inside("d/empty"), 0o100_644, b""),
                entry(&inside("link"), 0o120_777, b"d/file"),
                entry("TRAILER!!!", 0, b""),
                // A second archive.
                entry(&inside("again"), 0o100_600, b"x"),
                entry("TRAILER!!!", 0, b""),
            ];
            let mut unpacker = Unpacker::default();
            archive.concat().chunks(piece).for_each(|piece| unpacker.push(piece));
            assert!(unpacker.bytes.is_empty());
            unpacker.finish().unwrap();

            assert_eq!(fs::read(at("link")).unwrap(), b"some\0bytes");
            assert_eq!(fs::read(at("d/empty")).unwrap(), b"");
            assert_eq!(fs::read(at("again")).unwrap(), b"x");
            let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
            assert_eq!(["d", "d/file", "d/empty"].map(mode), [0o700, 0o755, 0o644]);
        }
    }

    #[test]
    fn an_archive_that_is_broken_or_cut_is_reported() {
        let mut unpacker = Unpacker::default();
        unpacker.push(&[b'x'; HEADER]);
        unpacker.push(&[b'x'; HEADER]);
        assert!(unpacker.finish().unwrap_err().contains("is broken"));
        let mut half = Unpacker::default();
        half.push(&entry("TRAILER!!!", 0, b"")[..60]);
        assert!(half.finish().unwrap_err().contains("not complete"));
    }
}
