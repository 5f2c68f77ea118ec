//! A kernel boots in every format, and the launcher unpacks it.

use std::fs;
use std::path::Path;

use tests::environment::{bzimage, initramfs, packed};
use tests::files::Scratch;
use tests::{End, Launch, bzimage as image};

/// Boots a kernel to the shell, and returns the launcher's messages.
fn boot(kernel: &Path) -> String {
    let launch = Launch::kernel(kernel).initrd(initramfs()).option("--verbose");
    let mut guest = launch.fed("echo UP-$((6*7)); cat /proc/cmdline; poweroff -f\n");
    assert_eq!(guest.wait(), End::Status(0), "{}", guest.stderr());
    assert!(guest.text().contains("UP-42\r\n"));
    let said = guest.stderr();
    let prefix = "lguest: kernel command line: ";
    let line = said.lines().find_map(|line| line.strip_prefix(prefix)).unwrap();
    assert!(guest.text().contains(&format!("\n{line}\r\n")), "not in effect: {line}");
    said
}

/// Boots the packed ELF file.
fn boots_packed(name: &str, codec: &str) {
    let said = boot(&packed().join(name));
    assert!(said.contains(&format!("unpacked ({codec})")), "{said}");
}

/// Boots the stock bzImage with its payload packed by another compressor.
fn boots_in_bzimage(name: &str, codec: &str) {
    let scratch = Scratch::new();
    let mut payload = fs::read(packed().join(name)).unwrap();
    if codec != "gzip" {
        // The kernel's build appends the unpacked size. gzip already has it.
        let size = fs::metadata(tests::environment::vmlinux()).unwrap().len();
        payload.extend(u32::try_from(size).unwrap().to_le_bytes());
    }
    let stock = fs::read(bzimage()).unwrap();
    let said = boot(&scratch.file("vmlinuz", image::with_payload(&stock, &payload)));
    assert!(said.contains(&format!("unpacked ({codec})")), "{said}");
}

#[test]
fn the_stock_bzimage_boots() {
    let said = boot(&bzimage());
    assert!(said.contains("MiB unpacked ("), "{said}");
    assert!(said.contains("console=hvc0"), "{said}");
}

#[test]
fn a_bzimage_of_unknown_payload_unpacks_itself() {
    let scratch = Scratch::new();
    let stock = fs::read(bzimage()).unwrap();
    let said = boot(&scratch.file("vmlinuz", image::with_hidden_payload(&stock)));
    assert!(said.contains("the guest unpacks it"), "{said}");
}

#[test]
fn an_elf_in_gzip_boots() {
    boots_packed("vmlinux.gz", "gzip");
}

#[test]
fn an_elf_in_xz_boots() {
    boots_packed("vmlinux.xz", "xz");
}

#[test]
fn an_elf_in_lzma_boots() {
    boots_packed("vmlinux.lzma", "lzma");
}

#[test]
fn an_elf_in_bzip2_boots() {
    boots_packed("vmlinux.bz2", "bzip2");
}

#[test]
fn an_elf_in_lz4_boots() {
    boots_packed("vmlinux.lz4", "lz4");
}

#[test]
fn an_elf_in_zstd_boots() {
    boots_packed("vmlinux.zst", "zstd");
}

#[test]
fn a_bzimage_with_gzip_boots() {
    boots_in_bzimage("vmlinux.gz", "gzip");
}

#[test]
fn a_bzimage_with_xz_boots() {
    boots_in_bzimage("vmlinux.xz", "xz");
}

#[test]
fn a_bzimage_with_lz4_boots() {
    boots_in_bzimage("vmlinux.lz4-legacy", "lz4");
}

#[test]
fn a_bzimage_with_zstd_boots() {
    boots_in_bzimage("vmlinux.zst", "zstd");
}
