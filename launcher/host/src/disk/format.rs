//! Detects disk images that are not raw. A guest would see the bytes of the container
//! instead of the disk in it, and its first write could destroy the image. Nothing in here
//! interprets such an image: a guest that writes a magic number to its own raw disk can
//! have the next launch refused, and gains nothing.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use anyhow::{Context, Result, bail};
use devices::block::PRIVATE_MAGIC;

use super::BlockConfig;

/// The number of bytes at the beginning of a file from which its format is detected.
const HEAD: u64 = 512;

/// The number of bytes at the end of a file, where some formats have their header.
const FOOTER: u64 = 512;

/// An image format with its magic number.
struct ImageFormat {
    /// The offset of the magic number in bytes.
    offset: usize,
    magic: &'static [u8],
    /// The name of the format in messages.
    name: &'static str,
    /// The command that converts such an image to a raw one.
    convert: &'static str,
}

const fn at(
    offset: usize,
    magic: &'static [u8],
    name: &'static str,
    convert: &'static str,
) -> ImageFormat {
    ImageFormat { offset, magic, name, convert }
}

const VMDK: &str = "qemu-img convert -f vmdk -O raw FILE NEW";
const VHD: &str = "qemu-img convert -f vpc -O raw FILE NEW";
const PARALLELS: &str = "qemu-img convert -f parallels -O raw FILE NEW";

/// The formats with a header at the beginning, from the probe functions of QEMU's block drivers.
/// The last one is that of Android's libsparse.
const BY_HEAD: [ImageFormat; 14] = [
    at(0, b"QFI\xfb\0\0\0\x01", "qcow", "qemu-img convert -f qcow -O raw FILE NEW"),
    at(0, b"QFI\xfb", "qcow2", "qemu-img convert -f qcow2 -O raw FILE NEW"),
    at(0, b"QED\0", "qed", "qemu-img convert -f qed -O raw FILE NEW"),
    at(0, b"KDMV", "vmdk", VMDK),
    at(0, b"COWD", "vmdk", VMDK),
    at(0, b"\xbe\xba\xfe\xca\0\0\0\0", "vmdk", VMDK),
    at(0, b"# Disk DescriptorFile", "vmdk", VMDK),
    at(64, b"\x7f\x10\xda\xbe", "vdi", "qemu-img convert -f vdi -O raw FILE NEW"),
    at(0, b"conectix", "vhd", VHD),
    at(0, b"vhdxfile", "vhdx", "qemu-img convert -f vhdx -O raw FILE NEW"),
    at(0, b"WithoutFreeSpace", "parallels", PARALLELS),
    at(0, b"WithouFreSpacExt", "parallels", PARALLELS),
    at(0, b"Bochs Virtual HD Image", "bochs", "qemu-img convert -f bochs -O raw FILE NEW"),
    at(0, b"\x3a\xff\x26\xed\x01\0", "android sparse", "simg2img FILE NEW"),
];

/// The formats with a header in the last sector.
const BY_FOOTER: [ImageFormat; 2] = [
    at(0, b"conectix", "vhd", VHD),
    at(0, b"koly", "dmg", "qemu-img convert -f dmg -O raw FILE NEW"),
];

/// The formats of compressed files. The user may want the guest to unpack one.
const PACKED: [ImageFormat; 4] = [
    at(0, b"\x1f\x8b\x08", "gzip", "gzip -d"),
    at(0, b"\xfd7zXZ\0", "xz", "xz -d"),
    at(0, b"\x28\xb5\x2f\xfd", "zstd", "zstd -d"),
    at(0, b"BZh", "bzip2", "bzip2 -d"),
];

/// Refuse a disk of this length if its bytes are an image of another format, unless the
/// user insists; warn if they are compressed.
///
/// # Errors
/// When the disk is such an image. The text has the format, and the command that converts it.
pub(super) fn check(config: &BlockConfig, name: &str, length: u64) -> Result<()> {
    if config.raw {
        return Ok(());
    }
    // The check uses another descriptor, because direct I/O would need an aligned buffer.
    let mut file = File::open(&config.path).context("reading its first bytes")?;
    let head = read(&mut file, 0, HEAD).context("reading its first bytes")?;
    if head.starts_with(&PRIVATE_MAGIC) {
        bail!(
            "it is the private part of a disk: give that disk, with \",cow=PRIVATE\"; \
             \",format=raw\" gives the guest the file's bytes as they are"
        );
    }
    let mut found = find(&BY_HEAD, &head);
    if found.is_none() {
        let start = length.saturating_sub(FOOTER);
        let footer = read(&mut file, start, FOOTER).context("reading its last bytes")?;
        found = find(&BY_FOOTER, &footer);
    }
    if let Some(ImageFormat { name: format, convert, .. }) = found {
        bail!(
            "it is a {format} image, and lguest takes raw images only: convert it ({convert}); \
             \",format=raw\" gives the guest the file's bytes as they are"
        );
    }
    if let Some(ImageFormat { name: format, convert, .. }) = find(&PACKED, &head) {
        log::warn!(
            "{name}: it is compressed ({format}), and the guest gets the compressed bytes: unpack \
             it first ({convert}), or add \",format=raw\""
        );
    }
    Ok(())
}

fn find<'a>(formats: &'a [ImageFormat], bytes: &[u8]) -> Option<&'a ImageFormat> {
    formats.iter().find(|format| {
        bytes.get(format.offset..).is_some_and(|bytes| bytes.starts_with(format.magic))
    })
}

/// Read up to `length` bytes from `offset` on.
fn read(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
