//! Kernels of several distribution releases, unpacked from their packages: KERNELS has a row
//! `NAME=DIRECTORY` for each. Modules are compressed or not, in lib or in usr/lib, and depmod was
//! not run.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::environment::kernels;
use tests::files::Scratch;
use tests::{End, Launch};

/// An unpacked kernel.
struct Unpacked {
    name: String,
    tree: PathBuf,
    kernel: PathBuf,
    modules: PathBuf,
    release: String,
}

fn rows() -> Vec<Unpacked> {
    let rows: Vec<_> = kernels().into_iter().map(|(name, tree)| unpacked(name, tree)).collect();
    assert!(!rows.is_empty(), "KERNELS is empty");
    rows
}

fn unpacked(name: String, tree: PathBuf) -> Unpacked {
    let tops = ["lib/modules", "usr/lib/modules"].map(|top| tree.join(top));
    let mut modules = tops.iter().filter_map(|top| fs::read_dir(top).ok()).flatten().flatten();
    let modules = modules.next().unwrap_or_else(|| panic!("{name}: no modules")).path();
    let release = modules.file_name().unwrap().to_str().unwrap().to_string();
    let kernels = [tree.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")];
    let kernel = kernels.into_iter().find(|kernel| kernel.exists()).unwrap();
    Unpacked { name, tree, kernel, modules, release }
}

fn exec(row: &Unpacked, modules: &Path, command: &str) -> Launch {
    println!("Linux {}: {command}", row.name);
    let launch = Launch::kernel(&row.kernel).option("--exec").option(command);
    launch.option("--modules").option(modules.to_str().unwrap())
}

/// The drivers of all devices and a module by name, found from the directory of modules and from
/// the top of the unpacked packages.
#[test]
fn every_kernel_runs_a_command() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk.img", vec![0; 1 << 20]);
    for row in rows() {
        let command = "uname -r; cat /sys/class/block/vda/size; ls -d /sys/class/net/dummy0; \
                       head -c 4 /dev/hwrng | wc -c; exit 7";
        for modules in [&row.modules, &row.tree] {
            let launch = exec(&row, modules, command).option("--load").option("dummy");
            let launch = launch.option("--rng").option("--block").option(disk.to_str().unwrap());
            let done = launch.done();
            let said = String::from_utf8_lossy(&done.stdout).into_owned();
            let release = &row.release;
            assert_eq!(said, format!("{release}\n2048\n/sys/class/net/dummy0\n4\n"), "{done:?}");
            assert_eq!((done.end, done.stderr.as_str()), (End::Status(7), ""));
        }
    }
}

/// The first random numbers of each clone differ. A kernel with a driver for the VM generation ID
/// says that it has reseeded its generator.
#[test]
fn every_clone_of_a_kernel_has_its_own_random_numbers() {
    for row in rows() {
        let config = fs::read_to_string(row.tree.join(format!("boot/config-{}", row.release)));
        let says = match config.unwrap_or_default().contains("CONFIG_VMGENID=y") {
            true => "until dmesg | grep -q 'due to virtual machine fork'; do sleep 0.1; done",
            false => ":",
        };
        let command = format!("head -c 16 /dev/urandom | sha256sum; {says}");
        let scratch = Scratch::new();
        let directory = scratch.path().join("warm");
        let warm = |command: &str| {
            let launch = exec(&row, &row.tree, command).option("--timeout=120s");
            launch.option("--warm").option(directory.to_str().unwrap()).done().well()
        };
        warm("true");
        let numbers: HashSet<_> = (0..3).map(|_| warm(&command)).collect();
        assert_eq!(numbers.len(), 3, "{}: {numbers:?}", row.name);
    }
}

/// The driver that reports a panic has another name in old kernels.
#[test]
fn every_kernel_reports_its_panic() {
    for row in rows() {
        let done = exec(&row, &row.tree, "echo c > /proc/sysrq-trigger").done();
        assert_eq!(done.end, End::Status(101), "{}: {}", row.name, done.stderr);
    }
}

/// ext4 requests its checksum by an alias that only depmod's lists resolve.
#[test]
fn every_kernel_has_a_root_disk() {
    let scratch = Scratch::new();
    let root = scratch.path().join("root");
    for directory in ["bin", "dev", "proc", "sys", "run", "tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
    let disk = scratch.path().join("disk.img");
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(&disk).arg("64M");
    assert!(mke2fs.output().unwrap().status.success());
    for row in rows() {
        let launch = exec(&row, &row.tree, "busybox grep -o '/ ext4 ro' /proc/mounts");
        let launch = launch.option("--block").option(disk.to_str().unwrap());
        assert_eq!(launch.argument("root=/dev/vda").done().well(), "/ ext4 ro\n", "{}", row.name);
    }
}
