use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;

/// Unpack an archive with another implementation of `cpio`, which is busybox's.
fn unpacked(archive: &[u8]) -> TempDir {
    let to = TempDir::new().unwrap();
    let mut cpio = Command::new("busybox");
    cpio.args(["cpio", "-i", "-d", "--quiet"]).current_dir(to.path()).stdin(Stdio::piped());
    let mut cpio = cpio.spawn().unwrap();
    cpio.stdin.take().unwrap().write_all(archive).unwrap();
    assert!(cpio.wait().unwrap().success());
    to
}

fn archive(fill: impl FnOnce(&mut Archive<Vec<u8>>) -> Result<()>) -> Vec<u8> {
    let mut archive = Archive::new(Vec::new());
    fill(&mut archive).unwrap();
    archive.end().unwrap();
    archive.to
}

#[test]
fn an_entry_is_what_linux_documents() {
    let bytes = archive(|archive| archive.file("/a", b"hello"));
    // The header, the name and its NUL are padded to a multiple of 4, as are the contents.
    let header = b"070701000000010000 81a4".iter().filter(|byte| **byte != b' ');
    assert!(bytes.iter().zip(header).all(|(is, wanted)| is == wanted));
    assert_eq!(bytes[54..62], *b"00000005");
    assert_eq!(bytes[94..102], *b"00000002");
    assert_eq!(bytes[110..112], *b"a\0");
    assert_eq!(bytes[112..120], *b"hello\0\0\0");
    assert_eq!(bytes[120..126], *b"070701");
    assert_eq!(bytes.len() % 4, 0);
}

#[test]
fn cpio_unpacks_an_archive() {
    let host = TempDir::new().unwrap();
    fs::create_dir(host.path().join("below")).unwrap();
    fs::write(host.path().join("below/script"), "#!/bin/sh\n").unwrap();
    let mode = fs::Permissions::from_mode(0o751);
    fs::set_permissions(host.path().join("below/script"), mode).unwrap();
    symlink("below/script", host.path().join("link")).unwrap();
    symlink("nowhere", host.path().join("broken")).unwrap();
    let bytes = archive(|archive| {
        archive.directory("/x")?;
        archive.file("/x/empty", b"")?;
        archive.program("/x/program", &[0xff; 4097])?;
        archive.link("/x/to", "program")?;
        archive.copy(host.path(), b"/x/copy")
    });
    let to = unpacked(&bytes);
    let of = |name: &str| to.path().join("x").join(name);
    assert_eq!(fs::read(of("empty")).unwrap(), b"");
    assert_eq!(fs::read(of("program")).unwrap(), [0xff; 4097]);
    assert_eq!(fs::metadata(of("program")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::read_link(of("to")).unwrap(), Path::new("program"));
    assert_eq!(fs::read(of("copy/link")).unwrap(), b"#!/bin/sh\n");
    assert_eq!(fs::metadata(of("copy/below/script")).unwrap().mode() & 0o7777, 0o751);
    assert_eq!(fs::read_link(of("copy/broken")).unwrap(), Path::new("nowhere"));
}

#[test]
fn a_file_that_cannot_be_archived_is_named() {
    let mut archive = Archive::new(Vec::new());
    let error = archive.copy("/nonexistent".as_ref(), b"/x").unwrap_err();
    assert!(format!("{error:#}").contains("/nonexistent"), "{error:#}");
    let error = archive.copy("/dev/null".as_ref(), b"/x").unwrap_err();
    assert!(format!("{error:#}").contains("/dev/null: only files"), "{error:#}");
}

/// A time has 32 bits in the format.
#[test]
fn a_time_after_2106_is_the_latest_that_the_format_has() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    let file = File::create(&path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33)).unwrap();
    let bytes = archive(|archive| archive.copy(&path, b"/a"));
    assert_eq!(bytes[46..54], *b"ffffffff");
}
