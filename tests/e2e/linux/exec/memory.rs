//! A guest whose memory is too small for its files reports that, and does not run the command with
//! some of them missing.

use tests::Launch;
use tests::files::{Scratch, initrd};

/// Creates a file that a compressor makes very small, so that its size is unknown before it is
/// unpacked.
fn zeroes(scratch: &Scratch, mib: usize) -> std::path::PathBuf {
    let plain = scratch.file("plain", initrd(&[("zeroes", &vec![0; mib << 20])]));
    let packed = std::process::Command::new("gzip").args(["-1", "-c"]).arg(plain).output().unwrap();
    scratch.file("initrd.gz", packed.stdout)
}

/// The kernel's tmpfs takes half of the free memory.
#[test]
fn files_that_do_not_fit_are_refused_before_the_start() {
    let scratch = Scratch::new();
    let file = scratch.file("large", vec![1; 64 << 20]);
    let file = file.to_str().unwrap().to_string();
    let launch = || Launch::exec("wc -c < /large").option("--file").option(&file);
    let small = launch().memory("192");
    small.done().one_line(1, "it does not fit: unpacked it has ");
    small.done().one_line(1, "give the guest more memory (320M)");
    assert_eq!(launch().memory("320").done().well(), "67108864\n");
}

/// The initrd fits where it is loaded, and shows to be too large only when it is unpacked.
#[test]
fn the_init_detects_files_that_the_kernel_lost() {
    let scratch = Scratch::new();
    let launch = Launch::exec("true").initrd(zeroes(&scratch, 128)).memory("192");
    launch.done().one_line(1, "give the guest more memory");
}

/// A broken initrd must not be reported as too large.
#[test]
fn an_initrd_that_cannot_be_unpacked_is_reported() {
    let scratch = Scratch::new();
    let mut packed = std::fs::read(zeroes(&scratch, 1)).unwrap();
    packed.truncate(packed.len() / 2);
    let launch = Launch::exec("true").initrd(scratch.file("half", packed));
    launch.done().one_line(1, "cannot unpack an --initrd");
}
