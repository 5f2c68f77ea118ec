//! Disks that cannot be used are refused before a guest starts, in one line, without touching the
//! terminal.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tests::files::Scratch;
use tests::{End, Launch};

use super::probe;

fn image(scratch: &Scratch, name: &str) -> PathBuf {
    let path = scratch.path().join(name);
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    path
}

fn with_disk(launch: Launch, path: &Path, options: &str) -> Launch {
    launch.option(&format!("--block={}{options}", path.display()))
}

/// Asserts that lguest ends by itself, with one line about a disk that contains `words`.
#[track_caller]
fn refuses(launch: &Launch, words: &str) {
    let mut running = launch.on_terminal();
    assert_eq!(running.wait_refused(words), End::Status(1));
    assert!(running.stderr().starts_with("lguest: disk "), "{}", running.stderr());
    running.assert_nothing_left();
}

#[test]
fn files_that_are_not_disks_are_refused() {
    let scratch = Scratch::new();
    let launch = || probe("poweroff");
    let missing = scratch.path().join("missing");
    refuses(&with_disk(launch(), &missing, ""), "missing: no such file");
    refuses(&with_disk(launch(), scratch.path(), ""), "it is a directory");
    refuses(&with_disk(launch(), Path::new("/dev/null"), ""), "neither a file nor a block device");
    refuses(&with_disk(launch(), &scratch.file("empty", ""), ""), "it is empty");
    refuses(&with_disk(launch(), &scratch.file("short", "short"), ",ro"), "smaller than a block");
    let twice = image(&scratch, "twice");
    refuses(&with_disk(with_disk(launch(), &twice, ""), &twice, ",ro"), "it is given twice");
}

#[test]
fn an_image_that_is_not_raw_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let content = [b"QFI\xfb\0\0\0\x03".as_slice(), &[0x5a; 4088]].concat();
    let disk = scratch.file("disk.qcow2", &content);
    let words = "it is a qcow2 image, and lguest takes raw images only: convert it (qemu-img \
                 convert -f qcow2 -O raw FILE NEW)";
    for options in ["", ",ro", ",sync=off"] {
        refuses(&with_disk(probe("poweroff"), &disk, options), words);
    }
    assert!(fs::read(&disk).unwrap() == content);
    let mut insists = with_disk(probe("poweroff"), &disk, ",format=raw").piped();
    assert_eq!(insists.wait(), End::Status(0), "{}", insists.stderr());
}

#[test]
fn a_compressed_image_causes_a_warning() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk.xz", [b"\xfd7zXZ\0".as_slice(), &[0; 4090]].concat());
    let mut running = with_disk(probe("poweroff"), &disk, "").piped();
    assert_eq!(running.wait(), End::Status(0));
    let said = running.stderr();
    assert!(said.contains("it is compressed (xz)") && said.contains("xz -d"), "{said}");
    let mut insists = with_disk(probe("poweroff"), &disk, ",format=raw").piped();
    assert_eq!(insists.wait(), End::Status(0));
    assert!(!insists.stderr().contains("compressed"), "{}", insists.stderr());
}

#[test]
fn an_unknown_option_is_refused() {
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk");
    let mut running = with_disk(probe("poweroff"), &disk, ",rw").on_terminal();
    assert_eq!(running.wait(), End::Status(2));
    let said = running.stderr();
    assert!(said.contains("no option \"rw\"") && said.contains("--block"), "{said}");
    running.assert_terminal_restored();
}

#[test]
fn a_partial_last_sector_causes_a_warning() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", [0; 1000]);
    let mut running = with_disk(probe("poweroff"), &disk, "").on_terminal();
    assert_eq!(running.wait(), End::Status(0));
    assert!(running.stderr().contains("its last 488 bytes"), "{}", running.stderr());
}

#[test]
fn a_disk_in_use_is_refused_with_the_name_of_its_user() {
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk");
    let mut first = with_disk(probe("console"), &disk, "").on_terminal();
    first.expect("hello");
    let who = format!("disk: it is in use by pid {} (lguest)", first.process().0);
    refuses(&with_disk(probe("poweroff"), &disk, ""), &who);
    refuses(&with_disk(probe("poweroff"), &disk, ",ro"), &who);

    // The lock disappears with the process, however that ends.
    first.process().signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(first.wait(), End::Killed(9));
    assert_eq!(with_disk(probe("poweroff"), &disk, "").piped().wait(), End::Status(0));
}

#[test]
fn read_only_guests_can_share_a_disk() {
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk");
    let mut first = with_disk(probe("console"), &disk, ",ro").on_terminal();
    first.expect("hello");
    assert_eq!(with_disk(probe("poweroff"), &disk, ",ro").piped().wait(), End::Status(0));
    refuses(&with_disk(probe("poweroff"), &disk, ""), "it is in use by pid");
}

#[test]
fn a_guest_that_does_not_look_at_its_disk_leaves_it_alone() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", [0x5a; 4096]);
    let launch = with_disk(probe("poweroff"), &disk, ",queues=5,serial=abc,sync=off");
    assert_eq!(launch.option("--rng").piped().wait(), End::Status(0));
    assert!(fs::read(&disk).unwrap() == [0x5a; 4096]);
}
