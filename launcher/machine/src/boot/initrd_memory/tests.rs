use std::io::Write;

use super::*;

/// An archive with files of these sizes and a directory.
fn archive(sizes: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut entry = |mode: u32, name: &str, size: usize| {
        write!(bytes, "070701").unwrap();
        for field in [1, mode, 0, 0, 1, 0, u32::try_from(size).unwrap(), 0, 0, 0, 0] {
            write!(bytes, "{field:08x}").unwrap();
        }
        write!(bytes, "{:08x}{:08x}{name}\0", name.len() + 1, 0).unwrap();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.resize((bytes.len() + size).next_multiple_of(4), 7);
    };
    entry(0o040_755, "directory", 0);
    for size in sizes {
        entry(0o100_644, "file", *size);
    }
    entry(0, "TRAILER!!!", 0);
    bytes
}

fn unpacked_size(bytes: &[u8], ram: u64) -> u64 {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    unpacked(&file, bytes.len() as u64, ram).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn files_are_counted_in_pages() {
    assert_eq!(unpacked_size(&archive(&[]), MIB), 0);
    assert_eq!(unpacked_size(&archive(&[1, 4096, 4097, 0]), MIB), 4 * PAGE);
    // Several archives, with zeroes between them, as a loader puts them.
    let several = [archive(&[1]), vec![0; 512], archive(&[5000])].concat();
    assert_eq!(unpacked_size(&several, MIB), 3 * PAGE);
}

/// Distributions have such an initrd: microcode that is not packed, and the rest that is.
#[test]
fn packed_files_are_counted_if_memory_may_be_short() {
    let packed = gzip(&archive(&[100_000]));
    let both = [archive(&[1]), packed.clone()].concat();
    assert_eq!(unpacked_size(&both, 0), 26 * PAGE);
    assert_eq!(unpacked_size(&both, packed.len() as u64 * 100), PAGE);
}

#[test]
fn bytes_that_are_not_an_archive_count_as_zero() {
    for bytes in [&b""[..], b"x", b"070701 and so on", &[0; 3], &vec![0; 3 << 20], b"\x1f\x8b\x08"]
    {
        assert_eq!(unpacked_size(bytes, 0), 0);
    }
    // A truncated archive is counted as far as its headers go.
    let whole = archive(&[9000]);
    assert_eq!(unpacked_size(&whole[..whole.len() / 2], 0), 3 * PAGE);
}

#[test]
fn a_root_disk_needs_no_tmpfs() {
    let tmpfs = |words: &[&str]| is_tmpfs(&words.iter().map(OsString::from).collect::<Vec<_>>());
    assert!(tmpfs(&[]) && tmpfs(&["rootfstype=tmpfs", "quiet"]));
    assert!(!tmpfs(&["root=/dev/vda"]) && !tmpfs(&["rootfstype=ramfs"]));
}

/// The size that a message advises is large enough, and not several times too large.
#[test]
fn the_advised_memory_is_enough() {
    for half in [true, false] {
        for files in [MIB, 100 * MIB, 10 << 30] {
            let available = |ram| InitrdMemory { ram, kernel: 40 * MIB, packed: files, half };
            let wanted = available(0).wanted(files) * MIB;
            assert!(available(wanted).for_files() >= files, "{wanted}");
            assert!(
                available((wanted / 8 * 7).saturating_sub(64 * MIB)).for_files() < files,
                "{wanted}"
            );
        }
    }
}
