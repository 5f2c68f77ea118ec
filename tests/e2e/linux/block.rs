//! Disks, as Linux uses them. `kvm::disks` tests that unusable disks are refused.

mod cow;
mod faults;
mod flush;
mod hangs;
mod kills;
mod resets;
mod zeroes;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::files::Scratch;
use tests::{End, Guest, Launch, is_root};

pub(super) const MIB: u64 = 1 << 20;

/// Creates a sparse file.
pub(super) fn image(scratch: &Scratch, name: &str, length: u64) -> PathBuf {
    let path = scratch.path().join(name);
    File::create(&path).unwrap().set_len(length).unwrap();
    path
}

/// Creates an ext4 file system with these files on the first part of a sparse file.
pub(super) fn ext4(scratch: &Scratch, name: &str, length: u64, files: &[(&str, &str)]) -> PathBuf {
    let (path, root) = (image(scratch, name, length), scratch.path().join("root"));
    fs::create_dir_all(&root).unwrap();
    for (name, contents) in files {
        fs::write(root.join(name), contents).unwrap();
    }
    host("mkfs.ext4", &["-q", "-F", "-d", root.to_str().unwrap(), path.to_str().unwrap()]);
    path
}

/// Runs a program on the host, asserts that it succeeds, and returns its output.
pub(super) fn host(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asserts that the host's check of a file system finds nothing wrong. The check first replays the
/// journal, if the file system was left in use.
pub(super) fn assert_clean(image: &Path) {
    let path = image.to_str().unwrap();
    // Status 1 means that the journal was replayed, and nothing else.
    let replay = Command::new("e2fsck").args(["-p", "-E", "journal_only", path]).output().unwrap();
    assert!(matches!(replay.status.code(), Some(0 | 1)), "{replay:?}");
    host("e2fsck", &["-fn", path]);
}

/// Returns the contents of a file in an ext4 image.
pub(super) fn file_in(image: &Path, name: &str) -> String {
    host("debugfs", &["-R", &format!("cat {name}"), image.to_str().unwrap()])
}

/// Returns how many bytes a file takes on the host.
pub(super) fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

pub(super) fn with_disk(launch: Launch, path: &Path, options: &str) -> Launch {
    launch.option(&format!("--block={}{options}", path.display()))
}

fn boot(path: &Path, options: &str) -> Guest {
    Guest::of(with_disk(Launch::linux(), path, options).on_terminal())
}

#[test]
fn a_file_system_goes_from_host_to_guest_and_back() {
    let scratch = Scratch::new();
    let disk = ext4(&scratch, "disk", 256 * MIB, &[("hello", "from the host\n")]);
    let sparse = allocated(&disk);

    let mut guest = boot(&disk, "");
    guest.run("mount -t ext4 /dev/vda /mnt");
    assert_eq!(guest.run("cat /mnt/hello"), "from the host");
    guest.run(
        "yes from the guest | head -c 5000000 > /mnt/answer; sha256sum < /mnt/answer > /mnt/sum",
    );
    // This makes the guest read from the disk, not from its page cache.
    guest.run("sync; echo 3 > /proc/sys/vm/drop_caches");
    guest.run("sha256sum < /mnt/answer | cmp - /mnt/sum");
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr(), "");

    assert_clean(&disk);
    assert_eq!(fs::metadata(&disk).unwrap().len(), 256 * MIB);
    assert!(file_in(&disk, "/answer") == "from the guest\n".repeat(333_334)[..5_000_000]);
    assert!(allocated(&disk) - sparse < 16 * MIB, "the file is not sparse any more");
}

#[test]
fn disks_appear_in_order_with_their_options() {
    let scratch = Scratch::new();
    let first = image(&scratch, "first", 10 * MIB);
    let second = scratch.file("second", vec![b'2'; 1 << 20]);
    image(&scratch, "a,b", 3 * MIB);
    let launch = Launch::linux().option("--cpus").option("2");
    let launch = with_disk(launch, &first, ",serial=number one");
    let launch = with_disk(launch, &second, ",ro,serial=2,queues=1");
    let launch = launch.option(&format!("--block={}/a,,b,queues=2", scratch.path().display()));
    let mut guest = Guest::of(launch.on_terminal());

    let disks = "for disk in vda vdb vdc; do";
    let of_each = |what: &str| format!("cd /sys/block; {disks} echo $({what}); done; cd");
    assert_eq!(guest.run(&of_each("cat $disk/size")), "20480\n2048\n6144");
    assert_eq!(guest.run(&of_each("cat $disk/serial")), "number one\n2\n");
    assert_eq!(guest.run(&of_each("cat $disk/ro")), "0\n1\n0");
    assert_eq!(guest.run(&of_each("ls $disk/mq")), "0 1\n0\n0 1");
    assert_eq!(guest.run(&of_each("cat $disk/cache_type")), ["write back"; 3].join("\n"));
    let names: Vec<_> =
        guest.process().threads().into_iter().filter(|name| name.starts_with("blk")).collect();
    assert_eq!(names, ["blk0-q0", "blk0-q1", "blk1-q0", "blk2-q0", "blk2-q1"]);

    // The queues of both CPUs work.
    for cpu in 0..2 {
        let write = format!("echo {cpu} | dd of=/dev/vda bs=512 seek={cpu} conv=sync,fsync");
        guest.run(&format!("taskset -c {cpu} sh -c '{write}' 2> /dev/null"));
    }
    let bytes = fs::read(&first).unwrap();
    assert_eq!((bytes[0], bytes[512]), (b'0', b'1'));

    // The read-only disk can be read and not be written, whatever the guest's root tries.
    assert_eq!(guest.run("head -c 3 /dev/vdb; echo"), "222");
    guest.run("blockdev --setrw /dev/vdb; ! dd if=/dev/zero of=/dev/vdb bs=4k count=1 conv=fsync");
    assert!(fs::read(&second).unwrap() == vec![b'2'; 1 << 20]);
    assert_eq!(guest.power_off(), End::Status(0));
}

#[test]
fn discards_free_space_on_the_host() {
    let scratch = Scratch::new();
    let disk = ext4(&scratch, "disk", 256 * MIB, &[]);
    let empty = allocated(&disk);
    let mut guest = boot(&disk, "");

    guest.run("mount -t ext4 /dev/vda /mnt");
    guest.run("dd if=/dev/urandom of=/mnt/noise bs=1M count=32 conv=fsync 2> /dev/null");
    assert!(allocated(&disk) > empty + 31 * MIB);
    guest.run("rm /mnt/noise; sync; fstrim /mnt");
    assert!(allocated(&disk) < empty + 4 * MIB, "{} of {empty}", allocated(&disk));
    guest.run("umount /mnt");
    assert_clean(&disk);

    guest.run("blkdiscard /dev/vda");
    assert_eq!(allocated(&disk), 0);
    assert_eq!(fs::metadata(&disk).unwrap().len(), 256 * MIB);
    let limits = "cd /sys/block/vda/queue; cat discard_max_bytes write_zeroes_max_bytes; cd";
    assert_eq!(guest.run(limits), "2147483648\n2147483648");
}

/// The block device is a loop device, which only root can create.
#[test]
fn a_host_block_device_works_with_direct_io() {
    if !is_root("a loop device") {
        return;
    }
    let scratch = Scratch::new();
    let backing = image(&scratch, "backing", 64 * MIB);
    let device = host("losetup", &["--find", "--show", backing.to_str().unwrap()]);
    let device = PathBuf::from(device.trim());

    let mut guest = boot(&device, ",direct");
    let size = guest.run("cat /sys/block/vda/queue/logical_block_size");
    assert!(["512", "4096"].contains(&size.as_str()), "{size}");
    guest.run("yes direct | dd of=/dev/vda bs=1M count=8 iflag=fullblock conv=fsync 2> /dev/null");
    guest.run("echo 3 > /proc/sys/vm/drop_caches");
    guest.run("yes direct | head -c 8388608 | cmp - /dev/vda -n 8388608");
    let flags = guest.process().descriptors();
    assert!(flags.contains(&device.to_string_lossy().into_owned()), "{flags:?}");
    guest.run("blkdiscard -o 0 -l 4194304 /dev/vda");
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr(), "");

    host("losetup", &["--detach", device.to_str().unwrap()]);
    let bytes = fs::read(&backing).unwrap();
    assert!(bytes[4 << 20..8 << 20] == "direct\n".repeat(2 << 20).as_bytes()[4 << 20..8 << 20]);
    assert!(allocated(&backing) <= 5 * MIB, "{}", allocated(&backing));
}
