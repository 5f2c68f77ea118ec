//! Reads what the tests run with from the environment variables that the Makefile and `tests/linux`
//! set.

use std::env;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::wait::OrFail;

/// The launcher.
#[must_use]
#[track_caller]
pub fn launcher() -> PathBuf {
    path("LGUEST")
}

/// Quotes a path as a word of a shell's command line.
#[must_use]
pub fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

/// The stock kernel, a bzImage.
#[must_use]
#[track_caller]
pub fn bzimage() -> PathBuf {
    path("KERNEL")
}

/// The ELF kernel inside the stock kernel.
#[must_use]
#[track_caller]
pub fn vmlinux() -> PathBuf {
    path("VMLINUX")
}

/// The initramfs with a shell.
#[must_use]
#[track_caller]
pub fn initramfs() -> PathBuf {
    path("INITRAMFS")
}

/// All modules of the stock kernel, in the layout of the kernel's own installation.
#[must_use]
#[track_caller]
pub fn modules() -> PathBuf {
    path("MODULES")
}

/// Unpacked kernels of several releases: a name and a directory each.
#[must_use]
#[track_caller]
pub fn kernels() -> Vec<(String, PathBuf)> {
    let rows = path("KERNELS");
    let rows = rows.to_string_lossy();
    let rows = rows.split_whitespace().filter_map(|row| row.split_once('='));
    rows.map(|(name, directory)| (name.to_string(), directory.into())).collect()
}

/// The stock kernel's ELF file, packed with each compressor: vmlinux.gz and so on.
#[must_use]
#[track_caller]
pub fn packed() -> PathBuf {
    path("PACKED")
}

/// A disk with Debian on it.
#[must_use]
#[track_caller]
pub fn debian() -> PathBuf {
    path("DEBIAN")
}

/// The bare-metal guest for tests on any KVM.
#[must_use]
#[track_caller]
pub fn probe() -> PathBuf {
    path("PROBE")
}

/// The factor by which waits are longer here than on a fast machine.
#[must_use]
pub fn patience() -> f64 {
    number("LGUEST_TEST_PATIENCE").unwrap_or(1.0)
}

/// How often a guest reboots in the test that looks for leaks.
#[must_use]
pub fn reboots() -> u32 {
    number("LGUEST_TEST_REBOOTS").unwrap_or(5)
}

/// How often the test of many resets resets each device.
#[must_use]
pub fn resets() -> usize {
    number("LGUEST_TEST_RESETS").unwrap_or(2_500)
}

/// How many rounds each race with a second CPU has.
#[must_use]
pub fn races() -> u32 {
    number("LGUEST_TEST_RACES").unwrap_or(25)
}

/// How often a guest under load is saved and restored, and how many runs start from one snapshot.
#[must_use]
pub fn snapshots() -> usize {
    number("LGUEST_TEST_SNAPSHOTS").unwrap_or(5)
}

/// How long the soak takes, in minutes.
#[must_use]
pub fn soak_minutes() -> f64 {
    number("SOAK_MINUTES").unwrap_or(1.0)
}

/// The seed from which the actions of the soak follow. The default differs each time.
#[must_use]
pub fn soak_seed() -> u64 {
    number("SOAK_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |since| since.as_secs())
    })
}

/// How many launchers are killed while their guests write, and how many clients while they save a
/// guest.
#[must_use]
pub fn kills() -> u32 {
    number("LGUEST_TEST_KILLS").unwrap_or(50)
}

/// How often a launcher is stopped while its clients come and go.
#[must_use]
pub fn stops() -> usize {
    number("LGUEST_TEST_STOPS").unwrap_or(20)
}

/// How often clients attach and leave in the test that looks for leaks of clients.
#[must_use]
pub fn stays() -> usize {
    number("LGUEST_TEST_STAYS").unwrap_or(10_000)
}

/// How many pseudo-terminals the test that looks for leaks of pseudo-terminals creates; thousands
/// need a larger LGUEST_TEST_PATIENCE.
#[must_use]
pub fn ptys() -> usize {
    number("LGUEST_TEST_PTYS").unwrap_or(250)
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    Some(value.parse().ok().or_fail(&format!("reading {name}={value} as a number")))
}

#[track_caller]
fn path(name: &str) -> PathBuf {
    match env::var_os(name) {
        Some(path) => path.into(),
        None => {
            panic!("{name} is not set: run the tests with `make test-kvm` or `make test-linux`")
        }
    }
}
