//! Detects the format of a kernel file from its contents, and never from its name.
//! [`super::elf`], [`super::bzimage`] or [`super::unpack`] reads the file afterwards.

use anyhow::{Result, bail};

use super::bzimage::SetupHeader;
use super::elf;
use super::unpack::Codec;

/// The number of bytes at the beginning of a file from which its format is detected.
pub(crate) const HEAD: usize = 4096;

/// The format of a kernel file.
#[derive(Debug)]
pub(crate) enum KernelFormat {
    /// A vmlinux: an ELF executable for x86-64.
    Elf,
    /// A bzImage, which distributions install as vmlinuz.
    BzImage(SetupHeader),
    /// A file that is compressed as a whole.
    Packed(Codec),
}

/// Detect the format of a file that begins with `head`: [`HEAD`] bytes, or fewer if the file is
/// shorter.
///
/// # Errors
/// When the file cannot be started. The text names its format, if that is known.
pub(crate) fn identify(head: &[u8]) -> Result<KernelFormat> {
    if head.is_empty() {
        bail!("the file is empty: give a kernel (vmlinuz, vmlinux)");
    }
    if head.starts_with(elf::MAGIC) {
        elf::check(head)?;
        return Ok(KernelFormat::Elf);
    }
    if let Some(setup) = SetupHeader::find(head)? {
        return Ok(KernelFormat::BzImage(setup));
    }
    if let Some(codec) = Codec::of(head) {
        return Ok(KernelFormat::Packed(codec));
    }
    match known(head) {
        Some(what) => bail!("not an x86-64 kernel: {what}"),
        None => bail!(
            "not a Linux kernel: lguest starts a bzImage (vmlinuz), an ELF vmlinux, \
             or either one compressed"
        ),
    }
}

/// Other files that people may give by mistake: the offset of a magic number, the number, and the
/// message.
const KNOWN: [(usize, &[u8], &str); 10] = [
    (0x38, b"ARM\x64", "it is one for arm64; take the x86-64 one"),
    (0x38, b"RSC\x05", "it is one for RISC-V; take the x86-64 one"),
    (0x38, b"\x81\x82\x5c\x45", "it is one for LoongArch; take the x86-64 one"),
    (4, b"zimg", "it is one for another architecture, in an EFI wrapper; take the x86-64 one"),
    (0, b"\x27\x05\x19\x56", "it is a U-Boot image"),
    (0, b"0707", "it is a cpio archive: an initramfs? Give that with --initrd"),
    (0, b"QFI\xfb", "it is a qcow2 disk"),
    (0, b"\x89LZO", "it is packed by lzop, which lguest cannot unpack: use lzop -d"),
    (0, b"#!", "it is a script"),
    (
        0,
        b"MZ",
        "it is an EFI program; if it is a unified kernel image: \
         objcopy -O binary --only-section=.linux IMAGE vmlinuz",
    ),
];

fn known(head: &[u8]) -> Option<&'static str> {
    KNOWN.iter().find_map(|&(offset, magic, what)| {
        head.get(offset..).is_some_and(|bytes| bytes.starts_with(magic)).then_some(what)
    })
}
