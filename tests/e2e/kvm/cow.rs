//! Copy-on-write disks (`--block FILE,cow`): several guests on one file, private parts that are
//! kept, and refusals.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Launch, Running};

use super::hostile::contents;
use super::probe;

/// A guest that writes this number to a disk with these options.
fn writes(number: u32, disk: &Path, options: &str) -> Launch {
    let launch = probe(&format!("disk={number}")).option("--earlycon");
    launch.option(&format!("--block={}{options}", disk.display()))
}

/// Returns the number that a new disk has where guests write theirs.
fn first_number(contents: &[u8]) -> u32 {
    u32::from_le_bytes(contents[16 * 512..][..4].try_into().unwrap())
}

/// Starts a guest that stays, after it has written its number.
fn stays(number: u32, disk: &Path, options: &str) -> Running {
    let mut running = writes(number, disk, options).argument("stay").piped();
    running.expect("hello 80x24\n");
    running
}

#[track_caller]
fn assert_said(running: &Running, had: u32, has: u32) {
    let said = running.text();
    let lines = [format!("disk had {had}\n"), format!("disk has {has}\n")];
    assert!(lines.iter().all(|line| said.replace('\r', "").contains(line)), "{lines:?}: {said}");
}

/// Runs a guest to its end.
#[track_caller]
fn writes_once(number: u32, disk: &Path, options: &str, had: u32) {
    let mut running = writes(number, disk, options).piped();
    assert_eq!(running.wait(), End::Status(0), "{}{}", running.text(), running.stderr());
    assert_said(&running, had, number);
    assert_eq!(running.stderr(), "");
}

fn names(scratch: &Scratch) -> Vec<PathBuf> {
    let mut names: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[test]
fn two_guests_write_to_one_disk_and_it_does_not_change() {
    let (scratch, before) = (Scratch::new(), contents());
    let disk = scratch.file("disk", &before);
    let had = first_number(&before);
    let mut first = stays(111, &disk, ",cow,queues=2");
    let mut second = stays(222, &disk, ",cow");
    assert_said(&first, had, 111);
    assert_said(&second, had, 222);
    assert_eq!(names(&scratch), [disk.as_path()], "private parts have no names");
    writes_once(333, &disk, ",cow", had);

    // A third one may read it; nobody may write to it.
    let mut reads = probe("poweroff").option(&format!("--block={},ro", disk.display())).piped();
    assert_eq!(reads.wait(), End::Status(0), "{}", reads.stderr());
    let mut wants = probe("poweroff").option(&format!("--block={}", disk.display())).piped();
    assert_eq!(wants.wait(), End::Status(1));
    assert!(wants.stderr().contains("it is in use by pid"), "{}", wants.stderr());

    first.send([0x1e, b'p']);
    assert_eq!(first.wait(), End::Status(0));
    second.process().signal(Signal::SIGKILL);
    assert_eq!(second.wait(), End::Killed(9));
    assert!(fs::read(&disk).unwrap() == before);
    assert_eq!(names(&scratch), [disk.as_path()]);
    // The next guest finds nothing of it.
    writes_once(444, &disk, ",cow", had);
}

#[test]
fn a_private_part_is_kept_across_launches_and_kills() {
    let (scratch, before) = (Scratch::new(), contents());
    let disk = scratch.file("disk", &before);
    let private = scratch.path().join("private");
    let options = format!(",cow={}", private.display());
    writes_once(1, &disk, &options, first_number(&before));
    writes_once(2, &disk, &format!("{options},sync=off"), 1);
    let mut killed = stays(3, &disk, &options);
    let mut refused = writes(9, &disk, &options).piped();
    assert_eq!(refused.wait(), End::Status(1));
    let words = format!("private part {}: it is in use by pid", private.display());
    assert!(refused.stderr().contains(&words), "{}", refused.stderr());
    // The guest has flushed.
    killed.process().signal(Signal::SIGKILL);
    assert_eq!(killed.wait(), End::Killed(9));
    writes_once(4, &disk, &options, 3);
    assert!(fs::read(&disk).unwrap() == before);
    let allocated = fs::metadata(&private).unwrap().blocks() * 512;
    assert!(allocated <= 64 << 10, "{allocated} bytes for a few sectors");
    assert_eq!(fs::metadata(&private).unwrap().mode() & 0o777, 0o600);
}

/// Asserts that lguest ends with one line about a disk that contains `words`.
#[track_caller]
fn refuses(disk: &Path, options: &str, words: &str) {
    let launch = probe("poweroff").option(&format!("--block={}{options}", disk.display()));
    let mut running = launch.piped();
    assert_eq!(running.wait(), End::Status(1), "{options}");
    let said = running.stderr();
    assert!(said.contains(words) && said.lines().count() == 1, "{words}: {said}");
    assert!(said.starts_with("lguest: disk "), "{said}");
}

#[test]
fn private_parts_that_do_not_fit_are_refused() {
    let (scratch, before) = (Scratch::new(), contents());
    let disk = scratch.file("disk", &before);
    let in_scratch = |name: &str| scratch.path().join(name);
    let cow = |name: &str| format!(",cow={}", in_scratch(name).display());
    writes_once(1, &disk, &cow("private"), first_number(&before));

    refuses(&disk, &cow("none/private"), "no such directory");
    refuses(&disk, &cow("."), "it is not a file");
    refuses(&disk, &cow("disk"), "or the disk itself");
    let text = scratch.file("text", "text");
    refuses(&disk, &cow("text"), "text: it is not the private part of a disk");
    assert_eq!(fs::read(text).unwrap(), b"text");
    refuses(&in_scratch("private"), "", "it is the private part of a disk");
    refuses(&in_scratch("private"), ",cow", "it is the private part of a disk");

    fs::copy(&disk, in_scratch("copy")).unwrap();
    refuses(&in_scratch("copy"), &cow("private"), "another inode");
    writes_once(2, &disk, &cow("private"), 1);
    fs::write(&disk, &before).unwrap();
    refuses(&disk, &cow("private"), "another time of modification");
    let private = fs::OpenOptions::new().write(true).open(in_scratch("private")).unwrap();
    private.set_len(5000).unwrap();
    refuses(&disk, &cow("private"), "private: it ");
}

#[test]
fn one_guest_may_have_a_disk_twice_if_it_writes_to_neither() {
    let (scratch, before) = (Scratch::new(), contents());
    let disk = scratch.file("disk", &before);
    let with = |launch: Launch, options: &str| {
        launch.option(&format!("--block={}{options}", disk.display()))
    };
    let had = first_number(&before);
    let launch = with(with(writes(5, &disk, ",cow"), ",ro"), ",cow");
    let mut running = launch.piped();
    assert_eq!(running.wait(), End::Status(0), "{}", running.stderr());
    assert_said(&running, had, 5);
    let mut refused = with(writes(5, &disk, ",cow"), "").piped();
    assert_eq!(refused.wait(), End::Status(1));
    assert!(refused.stderr().contains("it is given twice"), "{}", refused.stderr());
    assert!(fs::read(&disk).unwrap() == before);
}

#[test]
fn info_says_that_a_disk_is_copy_on_write() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", contents());
    let private = scratch.path().join("private");
    let launch = probe("console").option("--name=one");
    let launch = launch.option(&format!("--block={},cow", disk.display()));
    let launch = launch.option(&format!("--block={},cow={}", disk.display(), private.display()));
    let mut running = launch.piped();
    running.expect("hello 80x24\n");
    let said = running.lguest(&["info", "one"]).well();
    assert!(said.contains("(copy-on-write)\n"), "{said}");
    let kept = format!("(copy-on-write, private part {})\n", private.display());
    assert!(said.contains(&kept), "{said}");
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
}
