//! Private parts over real files. tests/e2e/kvm/cow.rs has guests that write to them.

use std::os::unix::fs::{FileExt, MetadataExt};

use tempfile::TempDir;

use super::super::{Disk, DiskAccess, open_all};
use super::*;

fn disk(directory: &TempDir, name: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, vec![0x5a; 1 << 20]).unwrap();
    path
}

fn cow(path: &Path, part: PrivatePart) -> BlockConfig {
    BlockConfig { path: path.into(), cow: Some(part), ..BlockConfig::default() }
}

fn open_one(config: BlockConfig) -> Result<Disk> {
    open_all(&[config], 1).map(|mut disks| disks.remove(0))
}

fn refusal(configs: &[BlockConfig]) -> String {
    format!("{:#}", open_all(configs, 1).unwrap_err())
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn a_temporary_part_is_beside_the_disk_and_has_no_name() {
    let directory = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let path = disk(&directory, "disk");
    let link = other.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let (file, notice) = temporary(&link, other.path()).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!((metadata.nlink(), metadata.len()), (0, 0));
    assert_eq!((entries(directory.path()), notice), (1, None));
}

/// In sysfs, nobody can make files.
#[test]
fn a_disk_in_a_closed_directory_has_its_private_part_elsewhere() {
    let other = tempfile::tempdir().unwrap();
    let (file, notice) = temporary(Path::new("/sys/kernel/notes"), other.path()).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(entries(other.path()), 0);
    let notice = notice.unwrap();
    let words = format!("is in {}, not beside the disk (/sys/kernel: ", other.path().display());
    assert!(notice.contains(&words), "{notice}");

    let error = temporary(Path::new("/sys/kernel/notes"), Path::new("/sys")).unwrap_err();
    assert!(error.to_string().contains("set TMPDIR"), "{error}");
    let (_, notice) = temporary(Path::new("/nonexistent/disk"), other.path()).unwrap();
    assert!(notice.unwrap().contains("its directory is gone"));
}

#[test]
fn a_private_part_has_one_user_and_the_disk_has_many() {
    let directory = tempfile::tempdir().unwrap();
    let path = disk(&directory, "disk");
    let part = |name: &str| PrivatePart::Kept(directory.path().join(name));
    let temporary = || cow(&path, PrivatePart::Temporary);
    let configs = [temporary(), cow(&path, part("a")), temporary(), cow(&path, part("b"))];
    let disks = open_all(&configs, 1).unwrap();
    assert_eq!(disks.len(), 4);
    open_one(temporary()).unwrap();
    assert!(refusal(&[cow(&path, part("a"))]).contains("a: it is in use by"));
    let writes = BlockConfig { cow: None, ..temporary() };
    assert!(refusal(std::slice::from_ref(&writes)).contains("in use by"));
    drop(disks);

    open_one(cow(&path, part("a"))).unwrap();
    let words = "it is a file of another disk, or the disk itself";
    assert!(refusal(&[cow(&path, part("a")), cow(&path, part("a"))]).contains(words));
    assert!(refusal(&[cow(&path, part("disk"))]).contains(words));
    let other = disk(&directory, "other");
    let written = BlockConfig { path: other, ..writes.clone() };
    assert!(refusal(&[written.clone(), cow(&path, part("other"))]).contains(words));
    assert!(refusal(&[temporary(), writes]).contains("it is given twice"));
    open_all(&[written, BlockConfig { read_only: true, cow: None, ..temporary() }], 1).unwrap();
    assert!(fs::read(&path).unwrap() == vec![0x5a; 1 << 20]);
}

#[test]
fn a_private_part_that_cannot_be_used_is_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let path = disk(&directory, "disk");
    let in_directory = |name: &str| directory.path().join(name);
    fs::write(in_directory("text"), "text").unwrap();
    nix::unistd::mkfifo(&in_directory("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let rows = [
        ("none/private", "no such directory"),
        ("fifo", "it is not a file"),
        ("", "it is not a file"),
        ("text", "it is not the private part of a disk"),
    ];
    for (name, words) in rows {
        let said = refusal(&[cow(&path, PrivatePart::Kept(in_directory(name)))]);
        assert!(said.starts_with("disk /") && said.contains(": private part /"), "{said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn the_private_part_of_a_disk_is_not_a_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = disk(&directory, "disk");
    let part = directory.path().join("part");
    drop(open_one(cow(&path, PrivatePart::Kept(part.clone()))).unwrap());
    let raw = |raw| BlockConfig { path: part.clone(), raw, ..BlockConfig::default() };
    assert!(refusal(&[raw(false)]).contains("it is the private part of a disk"));
    open_one(raw(true)).unwrap();
}

#[test]
fn a_disk_begins_with_a_saved_private_part() {
    let directory = tempfile::tempdir().unwrap();
    let path = disk(&directory, "disk");
    let saved = directory.path().join("saved");
    let first = open_one(cow(&path, PrivatePart::Temporary)).unwrap();
    first.save_private(&File::create_new(&saved).unwrap()).unwrap();
    let before = fs::read(&saved).unwrap();
    let from = |part| BlockConfig { private_from: Some(saved.clone()), ..cow(&path, part) };
    let kept = PrivatePart::Kept(directory.path().join("kept"));
    for part in [PrivatePart::Temporary, kept] {
        open_one(from(part)).unwrap();
    }
    assert!(fs::read(&saved).unwrap() == before);

    fs::write(&path, vec![0; 1 << 20]).unwrap();
    let said = refusal(&[from(PrivatePart::Temporary)]);
    assert!(said.contains("saved private part /") && said.contains("another time"), "{said}");
    fs::remove_file(&saved).unwrap();
    assert!(refusal(&[from(PrivatePart::Temporary)]).contains("No such file"));
}

#[test]
fn a_disk_has_an_identity() {
    let directory = tempfile::tempdir().unwrap();
    let path = disk(&directory, "disk");
    let plain = || BlockConfig { path: path.clone(), ..BlockConfig::default() };
    let read_only = BlockConfig { read_only: true, ..plain() };
    let rows = [
        (plain(), DiskAccess::Write),
        (read_only, DiskAccess::ReadOnly),
        (cow(&path, PrivatePart::Temporary), DiskAccess::Cow),
    ];
    let metadata = fs::metadata(&path).unwrap();
    for (config, access) in rows {
        let identity = open_one(config).unwrap().identity().unwrap();
        assert_eq!(
            (&identity.path, identity.stamp.length, identity.access),
            (&path, 1 << 20, access)
        );
        assert_eq!((identity.stamp.inode, identity.stamp.device), (metadata.ino(), metadata.dev()));
        assert_eq!(identity.stamp.seconds, metadata.mtime());
        assert_eq!(i64::from(identity.stamp.nanoseconds), metadata.mtime_nsec());
        assert!(!identity.stamp.is_block_device);
        let text = serde_json::to_string(&identity).unwrap();
        assert_eq!(serde_json::from_str::<super::super::DiskIdentity>(&text).unwrap(), identity);
    }
}
