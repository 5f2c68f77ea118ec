//! Detects the formats that Linux accepts as an initial file system. With any other file, a kernel
//! has no init, and often no driver for the console on which it could report that.

/// The number of bytes at the beginning of a file from which its format is detected.
pub(super) const HEAD: usize = 2048;

/// The offset of a magic number, and the number.
type Magic = (usize, &'static [u8]);

/// The formats that Linux unpacks (`init/initramfs.c`, `lib/decompress.c`), and the file systems
/// that it mounts as an old initrd (`init/do_mounts_rd.c`).
const TAKEN: [Magic; 15] = [
    (0, b"070701"),
    (0, b"070702"),
    (0, b"\x1f\x8b"),
    (0, b"\x1f\x9e"),
    (0, b"BZh"),
    (0, b"\x5d\0\0"),
    (0, b"\xfd7zXZ\0"),
    (0, b"\x89LZO"),
    (0, b"\x02\x21\x4c\x18"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"-rom1fs-"),
    (0, b"\x45\x3d\xcd\x28"),
    (0, b"hsqs"),
    (1080, b"\x53\xef"),
    // Minix: the second byte is common to its versions.
    (1041, b"\x13"),
];

/// Other files that people may give by mistake: the magic number, and a part of the message.
const KNOWN: [(Magic, &str); 7] = [
    ((0, b"\x7fELF"), "an ELF file"),
    ((0x202, b"HdrS"), "a kernel"),
    ((257, b"ustar"), "a tar archive: unpack it, and pack it with cpio -o -H newc"),
    ((0, b"0707"), "a cpio archive of another format: pack it with cpio -o -H newc"),
    ((0, b"\xc7\x71"), "a cpio archive of another format: pack it with cpio -o -H newc"),
    ((0, b"\x04\x22\x4d\x18"), "packed in lz4's usual format: Linux takes that of lz4 -l"),
    ((0, b"QFI\xfb"), "a qcow2 image: give that with --block"),
];

/// The message on a file that begins with `head`. `None` if Linux accepts the file.
pub(super) fn complaint(head: &[u8]) -> Option<String> {
    // Linux skips zeroes before an archive.
    let is_padding = head.iter().take(512).all(|&byte| byte == 0) && !found(head, TAKEN);
    if is_padding || found(head, TAKEN) {
        return None;
    }
    let known = KNOWN.iter().find(|(magic, _)| has(head, *magic));
    let what = known.map_or("not an initial file system that Linux knows", |(_, what)| what);
    Some(format!(
        "it is {what} (Linux takes a cpio archive, plain or packed by gzip, xz, zstd, bzip2, lzma, \
         lzo or lz4)"
    ))
}

fn found<const N: usize>(head: &[u8], magics: [Magic; N]) -> bool {
    magics.into_iter().any(|magic| has(head, magic))
}

fn has(head: &[u8], (offset, magic): Magic) -> bool {
    head.get(offset..).is_some_and(|bytes| bytes.starts_with(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(offset: usize, magic: &[u8]) -> Vec<u8> {
        let mut head = vec![0x20; HEAD];
        head[offset..offset + magic.len()].copy_from_slice(magic);
        head
    }

    #[test]
    fn formats_that_linux_accepts_are_accepted() {
        for (offset, magic) in TAKEN {
            assert_eq!(complaint(&head(offset, magic)), None, "{magic:?}");
            assert_eq!(complaint(&head(offset, magic)[..offset + magic.len()]), None, "{magic:?}");
        }
        assert_eq!(complaint(&[0; HEAD]), None);
        assert_eq!(complaint(&[0; 4]), None);
    }

    #[test]
    fn the_message_names_any_other_format() {
        for (magic, what) in KNOWN {
            let said = complaint(&head(magic.0, magic.1)).unwrap();
            assert!(said.starts_with(&format!("it is {what}")), "{said}");
        }
        assert!(complaint(b"hello\n").unwrap().starts_with("it is not an initial file system"));
    }
}
