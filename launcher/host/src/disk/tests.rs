//! Opening disks, over real files. tests/e2e/kvm/disks.rs checks that a message names
//! another launcher that holds the lock.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use devices::device::Device;
use tempfile::TempDir;

use super::*;

fn config(path: impl Into<PathBuf>) -> BlockConfig {
    BlockConfig { path: path.into(), ..BlockConfig::default() }
}

fn file(directory: &TempDir, name: &str, length: u64) -> PathBuf {
    let path = directory.path().join(name);
    File::create(&path).unwrap().set_len(length).unwrap();
    path
}

fn open_one(config: BlockConfig) -> Result<Disk> {
    open_all(&[config], 1).map(|mut disks| disks.remove(0))
}

/// The message for a disk that cannot be used.
fn refusal(config: BlockConfig) -> String {
    format!("{:#}", open_one(config).unwrap_err())
}

#[test]
fn a_disk_has_a_queue_for_each_cpu_up_to_eight_or_as_many_as_were_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "disk", 1 << 20);
    for (cpus, asked, queues) in [(1, None, 1), (3, None, 3), (64, None, 8), (2, Some(20), 20)] {
        let config = BlockConfig { queues: asked, ..config(&path) };
        let disks = open_all(&[config], cpus).unwrap();
        assert_eq!(disks[0].device().queues().len(), queues);
    }
}

#[test]
fn a_file_that_is_not_a_disk_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let rows = [
        (directory.path().join("none"), "none: no such file: make one"),
        (directory.path().into(), "it is a directory"),
        (fifo, "neither a file nor a block device"),
        ("/dev/null".into(), "neither a file nor a block device"),
        (file(&directory, "empty", 0), "empty: it is empty: make it as large"),
        (file(&directory, "short", 511), "smaller than a block of 512"),
    ];
    for (path, words) in rows {
        let said = refusal(config(path));
        assert!(said.starts_with("disk /") && said.contains(words), "{said:?}, {words:?}");
        assert_eq!(said.lines().count(), 1);
    }
}

/// A file of `length` bytes with these bytes at `offset`.
fn file_with(directory: &TempDir, offset: u64, bytes: &[u8], length: u64) -> PathBuf {
    let path = file(directory, "image", length);
    std::os::unix::fs::FileExt::write_all_at(
        &File::options().write(true).open(&path).unwrap(),
        bytes,
        offset,
    )
    .unwrap();
    path
}

#[test]
fn an_image_that_is_not_raw_is_refused_with_the_command_that_converts_it() {
    let directory = tempfile::tempdir().unwrap();
    let rows: [(u64, &[u8], &str, &str); 15] = [
        (0, b"QFI\xfb\0\0\0\x01", "qcow", "-f qcow "),
        (0, b"QFI\xfb\0\0\0\x02", "qcow2", "-f qcow2 "),
        (0, b"QFI\xfb\0\0\0\x03", "qcow2", "-f qcow2 "),
        (0, b"QED\0", "qed", "-f qed "),
        (0, b"KDMV\x01", "vmdk", "-f vmdk "),
        (0, b"COWD", "vmdk", "-f vmdk "),
        (0, b"# Disk DescriptorFile\nversion=1\n", "vmdk", "-f vmdk "),
        (64, b"\x7f\x10\xda\xbe", "vdi", "-f vdi "),
        (0, b"conectix", "vhd", "-f vpc "),
        ((1 << 20) - 512, b"conectix", "vhd", "-f vpc "),
        (0, b"vhdxfile", "vhdx", "-f vhdx "),
        (0, b"WithoutFreeSpace", "parallels", "-f parallels "),
        (0, b"WithouFreSpacExt", "parallels", "-f parallels "),
        ((1 << 20) - 512, b"koly", "dmg", "-f dmg "),
        (0, b"\x3a\xff\x26\xed\x01\0\0\0", "android sparse", "simg2img"),
    ];
    for (offset, magic, format, command) in rows {
        let path = file_with(&directory, offset, magic, 1 << 20);
        for (read_only, direct) in [(false, false), (true, false), (false, true)] {
            let config = BlockConfig { read_only, direct, ..config(&path) };
            let said = refusal(config.clone());
            assert!(said.contains(&format!("it is a {format} image, ")), "{format}: {said}");
            assert!(said.contains(command) && said.contains("format=raw"), "{format}: {said}");
            open_one(BlockConfig { raw: true, ..config }).unwrap();
        }
    }
}

#[test]
fn an_image_that_is_smaller_than_a_sector_is_recognized() {
    let directory = tempfile::tempdir().unwrap();
    let descriptor = b"# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\n";
    let path = file_with(&directory, 0, descriptor, 100);
    assert!(refusal(config(path)).contains("vmdk"));
}

#[test]
fn a_raw_disk_may_have_a_magic_number_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    for (offset, bytes) in [(512, "QFI\u{fb}"), (1, "KDMV"), (512, "conectix"), (0, "LUKS")] {
        let path = file_with(&directory, offset, bytes.as_bytes(), 1 << 20);
        open_one(config(path)).unwrap();
    }
}

#[test]
fn a_disk_given_twice_is_refused_by_whatever_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "disk", 4096);
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for read_only in [[false, false], [false, true], [true, false], [true, true]] {
        let [first, second] = read_only;
        let first = BlockConfig { read_only: first, ..config(&path) };
        let second = BlockConfig { read_only: second, ..config(&link) };
        match open_all(&[first, second], 1) {
            Ok(disks) => assert_eq!((read_only, disks.len()), ([true, true], 2)),
            Err(error) => {
                assert!(format!("{error:#}").contains("link: it is given twice"), "{error:#}");
                assert_ne!(read_only, [true, true]);
            }
        }
    }
}

#[test]
fn a_lock_lasts_as_long_as_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "disk", 4096);
    let reader = || BlockConfig { read_only: true, ..config(&path) };

    let writing = open_one(config(&path)).unwrap();
    assert!(refusal(config(&path)).contains("in use by"));
    assert!(refusal(reader()).contains("in use by"));
    drop(writing);

    let reading = open_one(reader()).unwrap();
    open_one(reader()).unwrap();
    assert!(refusal(config(&path)).contains("in use by"));
    drop(reading);
    open_one(config(&path)).unwrap();
}

#[test]
fn a_read_only_disk_is_not_opened_for_writing() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "disk", 4096);
    let metadata = fs::metadata(&path).unwrap();
    let file = open_file(&BlockConfig { read_only: true, ..config(&path) }, &metadata).unwrap();
    let flags = fcntl(&file, FcntlArg::F_GETFL).unwrap();
    assert_eq!(flags & libc::O_ACCMODE, libc::O_RDONLY);
}

#[test]
fn permission_denied_says_what_would_help() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "disk", 4096);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    if nix::unistd::Uid::effective().is_root() {
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        assert!(explain(denied, &config(&path)).to_string().contains("add \",ro\""));
        return; // Root may write to it all the same.
    }
    assert!(refusal(config(&path)).contains("add \",ro\""));
    open_one(BlockConfig { read_only: true, ..config(&path) }).unwrap();
}

#[test]
fn direct_io_has_an_alignment_or_is_refused() {
    // /dev/shm may have it or not, by the kernel's age; /tmp of most hosts has.
    for place in ["/tmp", "/dev/shm"] {
        let directory = tempfile::tempdir_in(place).unwrap();
        let path = file(&directory, "disk", 1 << 20);
        match open_one(BlockConfig { direct: true, ..config(path) }) {
            Ok(disk) => {
                let block = disk.image.block_size();
                assert!(block.is_power_of_two() && (512..=4096).contains(&block), "{block}");
            }
            Err(error) => assert!(format!("{error:#}").contains("leave out \"direct\"")),
        }
    }
}
