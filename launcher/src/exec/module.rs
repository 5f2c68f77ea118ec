//! A module of the kernel, as its file describes it (section .modinfo). The file is unpacked,
//! because the guest's init passes it to the kernel unpacked.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use machine::boot::unpack::{Codec, UnpackReader};
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection};

/// The largest file of a module, in bytes. (With all debug information a module has some 50 MiB.)
const LARGEST: u64 = 1 << 30;

/// A module of the kernel.
#[derive(Debug)]
pub(crate) struct KernelModule {
    /// The kernel's name for the module.
    pub(crate) name: String,
    /// The release of the kernel that the module is for.
    pub(crate) release: String,
    /// Modules that must be loaded before.
    pub(crate) needs: Vec<String>,
    /// Modules, or names of what they do, that the module asks for when it works.
    pub(crate) wants: Vec<String>,
    /// Other names by which the kernel asks for the module.
    pub(crate) aliases: Vec<String>,
    /// The unpacked file.
    pub(crate) bytes: Vec<u8>,
}

impl KernelModule {
    /// Read a module's file.
    ///
    /// # Errors
    /// When the file cannot be read, or is not a module.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        let bytes = unpack(path).with_context(name)?;
        Self::of(bytes).context("not a module of a kernel (.ko)").with_context(name)
    }

    fn of(bytes: Vec<u8>) -> Option<Self> {
        let info = section(&bytes, b".modinfo")?;
        let words: Vec<_> = info
            .split(|byte| *byte == 0)
            .filter_map(|word| std::str::from_utf8(word).ok()?.split_once('='))
            .collect();
        let first = |key| words.iter().find(|(word, _)| *word == key).map(|(_, value)| *value);
        let list = |text: &str| -> Vec<String> {
            text.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect()
        };
        let soft = words.iter().filter(|(word, _)| *word == "softdep");
        let (name, release) = (first("name")?.to_string(), first("vermagic")?);
        let release = release.split(' ').next()?.to_string();
        let needs = first("depends").map(list).unwrap_or_default();
        let wants = soft.flat_map(|(_, value)| before(value)).collect();
        let aliases = words.iter().filter(|(word, _)| *word == "alias");
        let aliases = aliases.map(|(_, value)| (*value).to_string()).collect();
        Some(Self { name, release, needs, wants, aliases, bytes })
    }
}

/// The modules after "pre:": in "pre: a b post: c" they are a and b.
fn before(value: &str) -> Vec<String> {
    let mut is_before = false;
    let mut names = Vec::new();
    for word in value.split_whitespace() {
        match word {
            "pre:" => is_before = true,
            "post:" => is_before = false,
            name if is_before => names.push(name.to_string()),
            _ => {}
        }
    }
    names
}

fn unpack(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(LARGEST).read_to_end(&mut bytes)?;
    let Some(codec) = Codec::of(&bytes) else { return Ok(bytes) };
    let mut unpacked = Vec::new();
    let packed = BufReader::new(bytes.as_slice());
    let read = UnpackReader::new(codec, packed)?.take(LARGEST).read_to_end(&mut unpacked);
    read.with_context(|| format!("unpacking it ({codec}): is the file complete?"))?;
    ensure!(!unpacked.is_empty(), "unpacking it ({codec}): nothing is in it");
    Ok(unpacked)
}

/// A section of a 64-bit ELF file.
fn section<'a>(elf: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let elf = ElfFile64::<Endianness>::parse(elf).ok()?;
    elf.section_by_name_bytes(wanted)?.data().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    /// A module with this description and no code.
    pub(crate) fn module(info: &[&str]) -> Vec<u8> {
        let names = b"\0.modinfo\0.names\0";
        let info = info.iter().flat_map(|word| [word.as_bytes(), &[0]].concat());
        let info: Vec<u8> = info.collect();
        let header = |name: u32, kind: u8, offset: usize, length: usize| {
            let mut header = vec![0; 0x40];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[4] = kind;
            header[0x18..0x20].copy_from_slice(&offset.to_le_bytes());
            header[0x20..0x28].copy_from_slice(&length.to_le_bytes());
            header
        };
        let mut elf = vec![0; 0x40];
        elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        elf[0x28] = 0x40;
        elf[0x3a] = 0x40;
        elf[0x3c] = 3;
        elf[0x3e] = 2;
        let start = 0x40 * 4;
        let sections = [
            header(0, 0, 0, 0),
            header(1, 1, start, info.len()),
            header(10, 3, start + info.len(), names.len()),
        ];
        [elf, sections.concat(), info, names.to_vec()].concat()
    }

    #[test]
    fn the_description_of_a_module_is_read() {
        let bytes = module(&[
            "license=GPL",
            "softdep=pre: crc32c  sha256 post: other",
            "softdep=pre: xxhash64",
            "depends=a,b",
            "name=ext_4",
            "vermagic=6.1.0-56-cloud-amd64 SMP preempt mod_unload",
        ]);
        let module = KernelModule::of(bytes).unwrap();
        assert_eq!(
            (module.name.as_str(), module.release.as_str()),
            ("ext_4", "6.1.0-56-cloud-amd64")
        );
        assert_eq!(module.needs, ["a", "b"]);
        assert_eq!(module.wants, ["crc32c", "sha256", "xxhash64"]);
        let alone = KernelModule::of(super::tests::module(&["name=a", "depends=", "vermagic=1 x"]));
        assert_eq!(alone.unwrap().needs, [""; 0]);
    }

    #[test]
    fn a_packed_module_is_unpacked() {
        let bytes = module(&["name=a", "vermagic=1.0 SMP"]);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&zstd::encode_all(bytes.as_slice(), 3).unwrap()).unwrap();
        assert_eq!(KernelModule::read(file.path()).unwrap().bytes, bytes);
    }

    #[test]
    fn other_files_are_not_modules() {
        let whole = module(&["name=a", "vermagic=1.0 SMP"]);
        for length in 0..whole.len() {
            assert!(KernelModule::of(whole[..length].to_vec()).is_none(), "{length}");
        }
        assert!(KernelModule::of(module(&["name=a"])).is_none());
        assert!(KernelModule::of(b"#!/bin/sh\n".to_vec()).is_none());
    }
}
