//! Errors are reported in one line, with a status that is not 0.

use std::fs;

use tests::environment::{modules, vmlinux};
use tests::files::Scratch;
use tests::{End, Launch};

#[test]
fn a_kernel_without_a_console_driver_is_reported() {
    let launch = Launch::kernel(vmlinux()).option("--exec").option("true");
    launch.done().one_line(1, "virtio_console): give its modules with --modules DIR");
}

#[test]
fn modules_of_another_kernel_are_refused() {
    let scratch = Scratch::new();
    // Each module contains the release of its kernel; this one has the same length.
    let dummy = fs::read(modules().join("kernel/drivers/net/dummy.ko")).unwrap();
    let at = dummy.windows(9).position(|window| window == b"vermagic=").unwrap();
    let mut other = dummy;
    other[at + 9] = b'5';
    let other = scratch.file("dummy.ko", other);
    let launch = Launch::exec("true").option("--load").option(other.to_str().unwrap());
    launch.done().one_line(1, "the module dummy is for Linux 5.1.0-");
    Launch::exec("true").option("--load").option("nosuch").done().one_line(1, "no module nosuch");
    let empty = scratch.path().to_str().unwrap();
    let launch = Launch::kernel(vmlinux()).option("--exec").option("true");
    launch.option("--modules").option(empty).done().one_line(1, "there are no modules of Linux ");
}

/// The module's own message is more precise than an error number.
#[test]
fn a_module_that_the_kernel_refuses_is_reported() {
    let scratch = Scratch::new();
    let loop_module = fs::read(modules().join("kernel/drivers/block/loop.ko")).unwrap();
    let at = loop_module.windows(8).position(|window| window == b"mod_unlo").unwrap();
    let mut other = loop_module;
    other[at] = b'x';
    // The module is not signed, like modules of users; the mark of a signature comes last.
    assert!(other.ends_with(b"~Module signature appended~\n"));
    other.truncate(other.len() - 28);
    let other = scratch.file("loop.ko", other);
    let launch = Launch::exec("true").option("--load").option(other.to_str().unwrap());
    launch.done().one_line(1, "does not take the module loop: version magic");
}

#[test]
fn conflicting_options_are_refused() {
    let usage = |launch: Launch, words: &str| {
        let done = launch.done();
        assert_eq!(done.end, End::Status(2), "{}", done.stderr);
        assert!(done.stderr.contains(words), "{}", done.stderr);
    };
    usage(Launch::kernel(vmlinux()).option("--tty"), "--exec");
    usage(Launch::kernel(vmlinux()).option("--load").option("loop"), "--exec");
    usage(Launch::exec("true").option("--detach"), "--detach");
    usage(Launch::exec("true").option("--file").option("x:y"), "absolute path");
    let exec = || Launch::exec("true");
    exec().option("--console").option("stdio").done().one_line(1, "--console stdio");
    exec().argument("rdinit=/init").done().one_line(1, "rdinit=");
    exec().argument("console=hvc1").done().one_line(1, "console=hvc1");
    exec().option("--tty").done().one_line(1, "stdin is not a terminal");
    exec().option("--file").option("/nonexistent").done().one_line(1, "/nonexistent");
    let mut many = exec();
    for _ in 0..8 {
        many = many.option("--console").option("sock");
    }
    many.done().one_line(1, "Linux has 8");
}

#[test]
fn a_root_without_a_shell_or_a_disk_is_reported() {
    let scratch = Scratch::new();
    let empty = [super::partition_table(8192), vec![0; 4 << 20]].concat();
    let empty = scratch.file("disk.img", empty);
    let empty = empty.to_str().unwrap();
    let launch = Launch::exec("true").option("--block").option(empty);
    let whole = launch.argument("root=/dev/vda").done();
    assert!(whole.stderr.contains("root=/dev/vda: it is not mounted as any of "), "{whole:?}");
    whole.one_line(1, ", but it has parts: /dev/vda1");
    let initrd = scratch.file("initrd", tests::files::initrd(&[("nothing", b"")]));
    Launch::exec("true").initrd(initrd).done().one_line(1, "no /bin/sh");
}
