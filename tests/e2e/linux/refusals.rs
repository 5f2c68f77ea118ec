//! Files that cannot be started are refused in one line that names them, without touching the
//! terminal.

use std::fs;
use std::path::PathBuf;

use tests::environment::{bzimage, initramfs, vmlinux};
use tests::files::Scratch;
use tests::{End, Launch, Running};

/// Asserts that lguest ends by itself, with one line that contains `words`.
#[track_caller]
pub(super) fn refuses(launch: &Launch, words: &str) {
    is_refused(launch.on_terminal(), words);
}

/// Asserts that a launcher, however it was started, refuses to start.
#[track_caller]
pub(super) fn is_refused(mut running: Running, words: &str) {
    assert!(matches!(running.wait_refused(words), End::Status(1 | 2)));
    running.assert_nothing_left();
}

/// Creates a file with the first bytes of another file.
fn head(scratch: &Scratch, file: PathBuf, length: usize) -> PathBuf {
    scratch.file("head", &fs::read(file).unwrap()[..length])
}

#[test]
fn missing_files_are_refused() {
    refuses(&Launch::kernel("/nonexistent/vmlinuz"), "/nonexistent/vmlinuz: no such file");
    refuses(&Launch::linux().initrd("/nonexistent/initrd"), "/nonexistent/initrd: no such file");
    refuses(&Launch::kernel("/"), "directory");
}

#[test]
fn truncated_kernels_are_refused() {
    let scratch = Scratch::new();
    for (file, length) in [(bzimage(), 4096), (bzimage(), 5 << 20), (vmlinux(), 20 << 20)] {
        refuses(&Launch::kernel(head(&scratch, file, length)), "truncated");
    }
}

#[test]
fn files_that_are_not_kernels_are_refused() {
    let scratch = Scratch::new();
    refuses(&Launch::kernel(scratch.file("empty", "")), "empty");
    refuses(&Launch::kernel(scratch.file("text", "#!/bin/sh\n")), "text");
    let mut arm = fs::read(vmlinux()).unwrap();
    arm[18] = 183;
    refuses(&Launch::kernel(scratch.file("arm", arm)), "arm64");
}

#[test]
fn initrds_that_do_not_fit_are_refused() {
    let scratch = Scratch::new();
    let large = scratch.file("large", vec![0; 600 << 20]);
    refuses(&Launch::linux().initrd(large), "large: it does not fit");
    refuses(&Launch::kernel(vmlinux()).initrd(initramfs()).memory("32"), "kernel does not fit");
    refuses(&Launch::linux().argument(&"x".repeat(5000)), "command line");
}
