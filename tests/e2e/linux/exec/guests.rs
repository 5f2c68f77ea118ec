//! What the command finds in its guest: files, modules, a root disk, a network.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::environment::{bzimage, initramfs, modules};
use tests::files::Scratch;
use tests::{End, Launch};

/// Creates a disk with a file system of 64 MiB that contains this directory.
fn disk(scratch: &Scratch, contents: &Path) -> String {
    let path = scratch.path().join("disk.img");
    let path = path.to_str().unwrap();
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(contents).args([path, "64M"]);
    assert!(mke2fs.output().unwrap().status.success());
    path.to_string()
}

/// Creates a root directory that contains only busybox.
pub(in crate::linux) fn root(scratch: &Scratch) -> PathBuf {
    let root = scratch.path().join("root");
    for directory in ["bin", "dev", "proc", "sys", "run", "tmp", "root"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in ["sh", "cat", "echo", "mount", "ls", "uname"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    root
}

#[test]
fn files_of_the_host_are_copied() {
    let scratch = Scratch::new();
    let script = scratch.file("test.sh", "#!/bin/sh\necho \"$0 says $1\"; cat /data/below/file\n");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(scratch.path().join("data/below")).unwrap();
    fs::write(scratch.path().join("data/below/file"), "contents\n").unwrap();
    symlink("below/file", scratch.path().join("data/link")).unwrap();
    let data = scratch.path().join("data");
    let script = script.to_str().unwrap();
    let done = Launch::exec("./test.sh hello; cat /etc/a/b/link; /tmp/x again | head -n 1; pwd")
        .option("--file")
        .option(script)
        .option("--file")
        .option(data.to_str().unwrap())
        .option("--file")
        .option(&format!("{}:/etc/a/b", data.display()))
        .option("--file")
        .option(&format!("{script}:/tmp/x"))
        .done();
    assert_eq!(done.well(), "./test.sh says hello\ncontents\ncontents\n/tmp/x says again\n/\n");
}

#[test]
fn the_users_initrd_provides_the_shell() {
    let scratch = Scratch::new();
    let file = scratch.file("mine", "mine\n");
    let mut launch = Launch::exec("cat /bin/mine; ls /init; uname -n").initrd(initramfs());
    launch = launch.option("--file").option(&format!("{}:/bin/mine", file.display()));
    assert_eq!(launch.done().well(), "mine\n/init\nguest\n");
}

/// A module is loaded by its name, with its dependencies, and from a file.
#[test]
fn modules_are_loaded_before_the_command() {
    let dummy = modules().join("kernel/drivers/net/dummy.ko");
    let done = Launch::exec("cut -d' ' -f1 /proc/modules; cat /sys/class/net/dummy1/mtu; uname -r")
        .option("--load")
        .option("xfs")
        .option("--load")
        .option(dummy.to_str().unwrap())
        .argument("dummy.numdummies=2")
        .done();
    let said = done.well();
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.contains(&"xfs") && lines.contains(&"libcrc32c"), "{said}");
    assert!(lines.contains(&"dummy") && lines.contains(&"1500"), "{said}");
    assert!(!lines.contains(&"virtio_net") && !lines.contains(&"btrfs"), "{said}");
}

/// The guest has the stock bzImage, a network card and a random number generator.
#[test]
fn devices_have_their_drivers() {
    let modules = modules();
    let done = Launch::kernel(bzimage())
        .option("--modules")
        .option(modules.to_str().unwrap())
        .option("--exec")
        .option(
            "ip -4 -o addr show eth0 | tr -s ' ' | cut -d' ' -f4; ip route; \
             head -c 4 /dev/hwrng | wc -c; ping -c 1 -q 192.168.77.1 | grep -c ' 0% packet loss'",
        )
        .option("--rng")
        .option("--tunnet")
        .option("192.168.77.1")
        .done();
    let said = done.well();
    assert!(said.starts_with("192.168.77.2/24\ndefault via 192.168.77.1 dev eth0"), "{said}");
    assert!(said.ends_with("4\n1\n"), "{said}");
}

#[test]
fn the_root_may_be_a_disk() {
    let scratch = Scratch::new();
    let disk = disk(&scratch, &root(&scratch));
    let file = scratch.file("given", "given\n");
    let launch = |command: &str, disk: &str, root: &str| {
        Launch::exec(command)
            .option("--block")
            .option(disk)
            .option("--file")
            .option(&format!("{}:/tmp/given", file.display()))
            .argument(root)
    };
    let command = "cat /tmp/given; echo x > /new; echo $?; ls /dev/vda /proc/self/fd/0";
    let done = launch(command, &disk, "root=/dev/vda").done();
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(
        (done.end, said.as_str()),
        (End::Status(0), "given\n1\n/dev/vda\n/proc/self/fd/0\n")
    );
    // The same file system is a partition of another disk.
    let table = super::partition_table(64 << 11);
    let whole = scratch.file("whole.img", [table, fs::read(&disk).unwrap()].concat());
    let command = "echo written > /new; (while :; do echo x > /busy; done) & exit 3";
    let done = launch(command, whole.to_str().unwrap(), "root=/dev/vda1").argument("rw").done();
    assert_eq!((done.end, done.stderr.as_str()), (End::Status(3), ""));
    // The data are there, and the file system is clean.
    let part = format!("{}?offset={}", whole.display(), 1 << 20);
    let read = Command::new("debugfs").args(["-R", "cat /new", &part]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout), "written\n");
    let checked = Command::new("e2fsck").args(["-f", "-n", &part]).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && !said.contains("recover"), "{said}");
}
