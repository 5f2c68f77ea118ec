//! Damaged, changed and unfitting snapshots are refused in one line, and leave nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tests::End;
use tests::files::Scratch;

use super::super::probe;
use super::{one, restore, snapshot};

/// Changes a file of a snapshot.
fn change(directory: &Path, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let path = directory.join(name);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let changed = change(fs::read(&path).unwrap());
    fs::write(&path, changed).unwrap();
}

/// Changes the manifest.
fn change_manifest(directory: &Path, to: impl FnOnce(&mut Value)) {
    change(directory, "manifest.json", |bytes| {
        let mut manifest = serde_json::from_slice(&bytes).unwrap();
        to(&mut manifest);
        serde_json::to_vec(&manifest).unwrap()
    });
}

/// A copy of a snapshot that may be changed.
fn copy(directory: &Path, scratch: &Scratch, name: &str) -> std::path::PathBuf {
    let to = scratch.path().join(name);
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to
}

#[track_caller]
fn refuses(directory: &Path, options: &[&str], words: &str) {
    let launch = options.iter().fold(restore(directory), |launch, option| launch.option(option));
    let mut running = launch.on_terminal();
    assert_eq!(running.wait_refused(words), End::Status(1));
    assert_eq!(running.stderr().lines().count(), 1, "{}", running.stderr());
    running.assert_nothing_left();
}

#[test]
fn damaged_files_are_refused_by_name() {
    let scratch = Scratch::new();
    let mut running = one().on_terminal();
    running.expect("hello 100x30");
    let good = snapshot(&running, &scratch, "good", &["--stop"]);
    assert_eq!(running.wait(), End::Status(0));

    for name in ["memory", "state.json", "console-0"] {
        let damaged = copy(&good, &scratch, &format!("short-{name}"));
        change(&damaged, name, |mut bytes| {
            bytes.pop();
            bytes
        });
        refuses(&damaged, &[], &format!("{name}: it has "));
        fs::remove_file(damaged.join(name)).unwrap();
        refuses(&damaged, &[], &format!("{name}: No such file"));
    }
    for name in ["state.json", "console-0"] {
        let damaged = copy(&good, &scratch, &format!("flipped-{name}"));
        change(&damaged, name, |mut bytes| {
            bytes[3] ^= 4;
            bytes
        });
        refuses(&damaged, &[], &format!("{name}: it is damaged"));
    }
    let damaged = copy(&good, &scratch, "flipped-memory");
    change(&damaged, "memory", |mut bytes| {
        bytes[0x5000] ^= 4;
        bytes
    });
    refuses(&damaged, &["--verify"], "memory: it is damaged");

    let other = copy(&good, &scratch, "format");
    change_manifest(&other, |manifest| manifest["format"] = 99.into());
    refuses(&other, &[], "it has format 99, written by lguest");
    let other = copy(&good, &scratch, "cpus");
    change_manifest(&other, |manifest| manifest["cpus"] = 2.into());
    refuses(&other, &[], "damaged");
    refuses(scratch.path(), &[], "not a snapshot");
    refuses(&good, &["--console=3=sock"], "the guest has one console, number 0");
    refuses(&good, &["--block=0=x"], "the guest has no disk");
}

#[test]
fn a_disk_that_has_changed_is_refused() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", vec![0; 1 << 20]);
    let launch = one().option(&format!("--block={}", disk.display()));
    let mut running = launch.on_terminal();
    running.expect("hello 100x30");
    let directory = snapshot(&running, &scratch, "saved", &["--stop"]);
    assert_eq!(running.wait(), End::Status(0));
    let private = format!("{},cow={}", disk.display(), scratch.path().join("private").display());
    let other = probe("disk=7").option("--earlycon").option(&format!("--block={private}"));
    assert_eq!(other.piped().wait(), End::Status(0));
    refuses(&directory, &[&format!("--block=0={private}")], "has what another guest wrote");
    let mut again = restore(&directory).on_terminal();
    again.send("same");
    again.expect("same");
    again.send([0x1e, b'p']);
    assert_eq!(again.wait(), End::Status(0));

    fs::write(&disk, vec![1; 1 << 20]).unwrap();

    refuses(&directory, &[], "disk 0");
}

#[test]
fn what_cannot_be_saved_is_refused_and_runs_on() {
    let scratch = Scratch::new();
    let mut running = one().on_terminal();
    running.expect("hello 100x30");
    let existing = scratch.file("there", "mine");
    let refused = |words: &[&str]| running.lguest(&[&["snapshot"], words].concat()).one_line();
    for option in ["--json", "--verify"] {
        let said = running.lguest(&["snapshot", "one", "/nowhere/at/all", option]);
        assert_eq!(said.status, Some(2), "{}", said.stderr);
        assert!(said.stderr.contains("cannot be used with"), "{}", said.stderr);
    }
    let said = refused(&["one", existing.to_str().unwrap()]);
    assert!(said.contains("it exists already"), "{said}");
    let said = refused(&["two", "/nowhere"]);
    assert!(said.contains("no guest two"), "{said}");
    let said = refused(&["one", "/nowhere/at/all"]);
    assert!(said.contains("/nowhere/at: No such file or directory"), "{said}");
    assert_eq!(fs::read(&existing).unwrap(), b"mine");
    running.send("alive");
    running.expect("alive");
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
}
