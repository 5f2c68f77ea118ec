//! Linux guests whose messages nobody can see: the launcher reports the reason.

use nix::sys::signal::Signal;
use tests::environment::vmlinux;
use tests::{End, Launch};

const NO_DRIVER: &str = "it had no driver for its console (virtio_console): ";

/// The init finds no console to read from, and the guest powers off.
#[test]
fn a_guest_that_cannot_use_its_devices_is_reported() {
    let mut running = Launch::linux().argument("pci=off").fed("");
    assert_eq!(running.wait(), End::Status(0));
    let said = running.stderr();
    let lines: Vec<_> = said.lines().collect();
    let [warning, report] = lines[..] else { panic!("{said}") };
    assert!(warning.starts_with("lguest: pci=off on the kernel command line: "), "{said}");
    assert!(report.contains("the guest has ended") && report.contains(NO_DRIVER), "{said}");
}

#[test]
fn a_kernel_without_an_initrd_gets_a_hint() {
    let mut running = Launch::kernel(vmlinux()).option("--verbose").piped();
    running.expect_stderr(&format!("printed nothing so far: {NO_DRIVER}most kernels have"));
    running.process().signal(Signal::SIGTERM);
    assert_eq!(running.wait(), End::Status(143));
}
