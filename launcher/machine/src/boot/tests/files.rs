//! Every form of kernel file starts the same kernel; everything else is refused
//! in one line.

use std::fs;
use std::io::{Read, Seek};
use std::path::Path;

use super::*;
use crate::boot::inside::ElfInside;
use crate::boot::progress::unwatched;

#[test]
fn an_elf_file_starts() {
    assert!(Start::of(&elf()).has_the_small_kernel());
}

#[test]
fn a_bzimage_of_each_compressor_starts_its_elf() {
    for codec in CODECS {
        let start = Start::of(&bzimage(&payload(codec, &elf())));
        assert!(start.has_the_small_kernel(), "{codec:?}: {:?}", start.result);
    }
}

#[test]
fn an_elf_file_packed_by_each_compressor_starts() {
    for codec in CODECS {
        let start = Start::of(&pack(codec, &elf()));
        assert!(start.has_the_small_kernel(), "{codec:?}: {:?}", start.result);
    }
}

#[test]
fn a_bzimage_packed_by_each_compressor_starts() {
    for codec in CODECS {
        let start = Start::of(&pack(codec, &bzimage(&payload(Codec::Xz, &elf()))));
        assert!(start.has_the_small_kernel(), "{codec:?}: {:?}", start.result);
    }
}

#[test]
fn members_of_a_parallel_compressor_are_joined() {
    let elf = elf();
    for codec in CODECS.into_iter().filter(|&codec| codec != Codec::Lzma) {
        let (first, second) = elf.split_at(200_000);
        let start = Start::of(&[pack(codec, first), pack(codec, second)].concat());
        assert!(start.has_the_small_kernel(), "{codec:?}: {:?}", start.result);
    }
}

#[test]
fn an_unpacked_payload_starts() {
    assert!(Start::of(&bzimage(&elf())).has_the_small_kernel());
}

#[test]
fn an_unknown_compressor_is_left_to_the_guest() {
    let image = bzimage(b"\x89LZO and so on");
    let start = Start::of(&image);
    assert_eq!(start.entry(), TEXT + 0x200);
    assert_eq!(start.bytes(TEXT, image.len() - 1024), image[1024..]);
}

#[test]
fn a_payload_that_is_not_a_kernel_is_left_to_the_guest() {
    let start = Start::of(&bzimage(&payload(Codec::Zstd, &[7; 10_000])));
    assert_eq!(start.entry(), TEXT + 0x200);
}

#[test]
fn a_damaged_payload_is_refused_before_the_guest_starts() {
    for codec in CODECS {
        let mut packed = payload(codec, &elf());
        let middle = packed.len() / 2;
        packed.truncate(middle);
        let start = Start::of(&bzimage(&packed));
        assert!(start.result.is_err(), "{codec:?}");
    }
}

#[test]
fn a_changed_byte_is_noticed_by_compressors_with_a_checksum() {
    for codec in [Codec::Gzip, Codec::Xz, Codec::Bzip2] {
        let mut packed = pack(codec, &elf());
        let middle = packed.len() / 2;
        packed[middle] ^= 0x10;
        let start = Start::of(&packed);
        assert!(start.result.is_err(), "{codec:?}");
    }
}

#[test]
fn a_bomb_ends_at_the_size_of_the_guest() {
    let bomb = pack(Codec::Zstd, &vec![0; 16 << 20]);
    let mut packed_elf = elf();
    // The first segment claims to be far away.
    packed_elf[64 + 8..64 + 16].copy_from_slice(&(1_u64 << 50).to_le_bytes());
    let start = Start::of(&[pack(Codec::Zstd, &packed_elf[..4096]), bomb].concat());
    assert!(start.error().contains("damaged"), "{}", start.error());
}

/// Check that a file is refused with this part of a message.
fn refused(bytes: &[u8], message: &str) {
    let start = Start::of(bytes);
    assert!(start.error().contains(message), "{message:?} is not in {:?}", start.error());
    assert!(!start.error().contains('\n'));
}

/// The small kernel with other bytes at an offset.
fn elf_with(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut elf = elf();
    elf[offset..offset + bytes.len()].copy_from_slice(bytes);
    elf
}

fn bzimage_with(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = bzimage(&payload(Codec::Gzip, &elf()));
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
    image
}

#[test]
fn other_files_are_refused() {
    refused(b"", "the file is empty");
    refused(b"hello", "not a Linux kernel");
    refused(&[0; 8192], "not a Linux kernel");
    refused(b"070701 and so on", "--initrd");
    refused(&pack(Codec::Gzip, b"070701 and so on"), "--initrd");
    refused(&pack(Codec::Gzip, &pack(Codec::Xz, &elf())), "packed twice, xz in gzip");
    let arm64 = [&[0; 0x38][..], b"ARM\x64"].concat();
    refused(&arm64, "arm64");
    refused(b"MZ and so on", "unified kernel image");
}

#[test]
fn elf_files_for_other_machines_and_purposes_are_refused() {
    refused(&elf_with(18, &183_u16.to_le_bytes()), "a kernel for arm64");
    refused(&elf_with(18, &3_u16.to_le_bytes()), "32-bit x86");
    refused(&elf_with(4, &[1]), "a 32-bit kernel");
    refused(&elf_with(5, &[2]), "big-endian");
    refused(&elf_with(16, &[1]), "kernel module");
    refused(&elf_with(16, &[3]), "program or shared library");
    refused(&elf_with(64 + 56, &[3]), "a program that runs on Linux");
    refused(&elf_with(24, &[0xff; 8]), "entry point");
    refused(&elf_with(56, &[0xff; 2]), "program headers");
    refused(&elf()[..40], "truncated");
    refused(&elf()[..100], "program headers");
    refused(&elf()[..100_000], "truncated file");
}

#[test]
fn bzimages_that_cannot_start_are_refused() {
    refused(&bzimage_with(0x236, &[0, 0]), "a 32-bit kernel");
    refused(&bzimage_with(0x206, &[7, 2]), "boot protocol 2.07");
    let image = bzimage_with(0, &[0]);
    refused(&image[..image.len() / 2], "truncated");
    refused(&image[..0x210], "truncated");
    // A bzImage that unpacks itself claims an address below 1 MiB, where lguest's tables are.
    let mut low = bzimage(b"\x89LZO and so on");
    low[0x258..0x260].copy_from_slice(&0x9000_u64.to_le_bytes());
    refused(&low, "belongs at 0x9000: kernels start at 1 MiB or above");
}

#[test]
fn the_last_paragraph_of_a_bzimage_need_not_be_full() {
    let mut image = bzimage(b"\x89LZO and so on");
    let whole = image.len();
    image.truncate(whole - 15);
    assert_eq!(Start::of(&image).entry(), TEXT + 0x200);
    image.truncate(whole - 16);
    refused(&image, "truncated file");
}

/// Xen is an ELF file for 32-bit x86 with both of the headers that GRUB looks for.
#[test]
fn a_multiboot_image_is_told_from_a_kernel_of_another_architecture() {
    for magic in [0x1bad_b002_u32, 0xe852_50d6] {
        let mut image = elf_with(18, &3_u16.to_le_bytes());
        image[4] = 1;
        image[0x188..0x18c].copy_from_slice(&magic.to_le_bytes());
        refused(&image, "a multiboot image (the Xen hypervisor, say), not a Linux kernel");
        refused(&pack(Codec::Gzip, &image), "lguest starts Linux directly");
    }
}

#[test]
fn files_that_cannot_be_opened_are_named() {
    let ram = ram(32);
    let error = |kernel| {
        let kernel = NamedFile::new(Path::new(kernel), unwatched);
        format!("{:#}", load(&request(&kernel), ram.memory()).unwrap_err())
    };
    assert_eq!(error("/nonexistent/vmlinuz"), "/nonexistent/vmlinuz: no such file");
    assert!(error("/tmp").starts_with("/tmp: it is a directory"));
    assert!(error("/dev/null").contains("not a regular file"));
}

/// Without privileges, the file cannot be opened by its name again.
#[test]
fn a_file_that_is_kept_open_is_read_afresh_at_each_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vmlinux");
    fs::write(&path, elf()).unwrap();
    let mut kernel = NamedFile::new(&path, unwatched);
    kernel.keep().unwrap();
    let ram = ram(32);
    let start = || load(&request(&kernel), ram.memory()).map_err(|error| format!("{error:#}"));
    for _ in 0..2 {
        assert_eq!(start().unwrap().rip, TEXT + 64);
    }
    // A start reads the same file, even if another one has its name.
    fs::write(&path, "text").unwrap();
    assert!(start().unwrap_err().contains("not a Linux kernel"));
    fs::write(&path, elf()).unwrap();
    fs::rename(file(b"text"), &path).unwrap();
    assert_eq!(start().unwrap().rip, TEXT + 64);
}

#[test]
fn malformed_files_never_panic() {
    let mut random = random();
    let short = |mut bytes: Vec<u8>| {
        bytes.truncate(20_000);
        bytes
    };
    let seeds: Vec<Vec<u8>> = CODECS
        .iter()
        .flat_map(|&codec| [pack(codec, &elf()), bzimage(&payload(codec, &elf()))])
        .chain([elf()])
        .map(short)
        .collect();
    let ram = ram(32);
    for round in 0..200 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..1 + random() % 4 {
            // Most of all in the headers.
            let span = if random().is_multiple_of(4) { bytes.len() as u64 } else { 0x2a0 };
            let at = usize::try_from(random() % span).unwrap();
            bytes[at] = random().to_le_bytes()[0];
        }
        let kernel = file(&bytes);
        let _ = load(&request(&NamedFile::new(&kernel, unwatched)), ram.memory());
    }
}

#[test]
fn the_elf_inside_is_copied() {
    for kernel in [
        elf(),
        pack(Codec::Zstd, &elf()),
        bzimage(&payload(Codec::Lz4Legacy, &elf())),
        pack(Codec::Gzip, &bzimage(&payload(Codec::Xz, &elf()))),
    ] {
        assert!(inside(&kernel).unwrap() == elf());
    }
}

#[test]
fn an_elf_inside_that_is_damaged_is_refused() {
    for kernel in [
        b"hello".to_vec(),
        elf()[..100_000].to_vec(),
        bzimage(b"\x89LZO and so on"),
        pack(Codec::Xz, &elf())[..50_000].to_vec(),
        pack(Codec::Lz4, &elf())[..70_000].to_vec(),
    ] {
        inside(&kernel).unwrap_err();
    }
}

fn inside(kernel: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut output = tempfile::tempfile()?;
    ElfInside::open(&file(kernel), unwatched)?.copy_to(&mut output)?;
    output.rewind()?;
    let mut elf = Vec::new();
    output.read_to_end(&mut elf)?;
    Ok(elf)
}
