//! Private files that are new, kept, of another disk, and damaged.

use super::*;

const LENGTH: u64 = 40 << 20;

fn stamp() -> FileStamp {
    FileStamp {
        length: LENGTH,
        seconds: 1_700_000_000,
        nanoseconds: 123_456_789,
        is_block_device: false,
        inode: 42,
        device: 0x801,
    }
}

fn file() -> File {
    tempfile::tempfile().unwrap()
}

/// A file with a private part in which these sectors are marked.
fn made(sectors: Range<u64>) -> File {
    let file = file();
    let private = PrivateFile::kept(file.try_clone().unwrap(), stamp()).unwrap();
    private.map.set(sectors);
    private.write_map(&private.map.take_changed(&mut 0)).unwrap();
    file
}

fn open(file: &File, disk: FileStamp) -> Result<PrivateFile, String> {
    let opened = PrivateFile::kept(file.try_clone().unwrap(), disk);
    opened.map_err(|error| error.to_string())
}

#[test]
fn a_private_file_that_is_kept_is_found_again() {
    let file = made(7..9);
    let private = open(&file, stamp()).unwrap();
    assert_eq!(private.map.run(0, 100), (false, 7));
    assert_eq!(private.map.run(7, 100), (true, 9));
    assert_eq!(private.place(0), 4096 + 3 * 4096);
    assert_eq!(private.length(), LENGTH);
    // The device number is another after the host's next start.
    open(&file, FileStamp { device: 0x802, ..stamp() }).unwrap();
}

#[test]
fn a_private_file_belongs_to_one_state_of_one_disk() {
    let file = made(0..1);
    let before = file.metadata().unwrap().len();
    let rows = [
        (FileStamp { length: LENGTH + 512, ..stamp() }, "another length"),
        (FileStamp { length: u64::MAX, ..stamp() }, "another length"),
        (FileStamp { inode: 43, ..stamp() }, "another inode"),
        (FileStamp { seconds: 0, ..stamp() }, "another time of modification"),
        (FileStamp { nanoseconds: 0, ..stamp() }, "another time of modification"),
        (FileStamp { is_block_device: true, ..stamp() }, "another kind of file"),
    ];
    for (disk, words) in rows {
        let error = open(&file, disk).unwrap_err();
        assert!(error.contains(words) && error.contains("bring back"), "{error}");
    }
    assert_eq!(file.metadata().unwrap().len(), before);

    let device = FileStamp { is_block_device: true, inode: 0, seconds: 0, ..stamp() };
    let file = self::file();
    open(&file, device).unwrap();
    let error = open(&file, FileStamp { device: 7, ..device }).unwrap_err();
    assert!(error.contains("device number"), "{error}");
}

#[test]
fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let rows: [(&[u8], u64, &str); 8] = [
        (b"x", 0, "not the private part"),
        (b"hello", 1 << 20, "not the private part"),
        (b"", 4096, "not the private part"),
        (b"LGUESTCW", 8, "not the private part"),
        (b"LGUESTCW", 1 << 20, "version 0"),
        (b"LGUESTCW\x02\0\0\0", 1 << 20, "version 2"),
        (b"LGUESTCW\x01\0\0\0\0\x10\0\0", 1 << 20, "sectors of 4096"),
        (b"LGUESTCW\x01\0\0\0\0\x02\0\0", 1 << 20, "another length"),
    ];
    for (bytes, length, words) in rows {
        let file = file();
        file.write_all_at(bytes, 0).unwrap();
        file.set_len(length.max(bytes.len() as u64)).unwrap();
        let before = (file.metadata().unwrap().len(), file.metadata().unwrap().mtime_nsec());
        let error = open(&file, stamp()).unwrap_err();
        assert!(error.contains(words) && error.lines().count() == 1, "{error}");
        assert_eq!(before, (file.metadata().unwrap().len(), file.metadata().unwrap().mtime_nsec()));
    }
}

#[test]
fn a_damaged_file_is_refused() {
    let file = made(0..80);
    let length = file.metadata().unwrap().len();
    for wrong in [4096, length - 1, length + 1, length / 2] {
        file.set_len(wrong).unwrap();
        assert!(open(&file, stamp()).unwrap_err().contains("its length"), "{wrong}");
    }
    file.set_len(length).unwrap();
    // The disk ends in the middle of the third page.
    file.write_all_at(&[1], 4 * 4096 - 1).unwrap();
    assert!(open(&file, stamp()).unwrap_err().contains("its map"));
}

/// A file whose header is right in itself, and wrong about everything.
#[test]
fn a_forged_header_allocates_nothing() {
    for length in [u64::MAX, 1 << 62, LONGEST + 512] {
        let disk = FileStamp { length, ..stamp() };
        let file = file();
        file.write_all_at(&disk.header(), 0).unwrap();
        assert!(open(&file, stamp()).unwrap_err().contains("another length"));
        assert!(open(&file, disk).is_err(), "{length}");
    }
}

#[test]
fn a_disk_that_is_too_large_is_refused() {
    let large = FileStamp { length: LONGEST + 512, ..stamp() };
    for error in [
        PrivateFile::temporary(file(), large).unwrap_err(),
        PrivateFile::kept(file(), large).unwrap_err(),
    ] {
        assert!(error.to_string().contains("16 TiB"), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_made_is_empty_afterwards() {
    let full = File::options().read(true).write(true).open("/dev/full").unwrap();
    assert!(matches!(PrivateFile::kept(full, stamp()), Err(PrivateError::Host(_))));
}

#[test]
fn a_saved_part_is_copied_into_a_new_one_only() {
    let saved = made(7..9);
    let new = PrivateFile::temporary(file(), stamp()).unwrap();
    let private = new.copied(&saved).unwrap();
    assert_eq!(private.map.run(7, 100), (true, 9));

    let target = file();
    let new = PrivateFile::kept(target.try_clone().unwrap(), stamp()).unwrap();
    drop(new.copied(&saved).unwrap());
    let again = open(&target, stamp()).unwrap();
    assert_eq!(again.map.run(7, 100), (true, 9), "the copy is on the host at once");
    assert!(matches!(again.copied(&saved), Err(PrivateError::NotEmpty)));

    // The disk may be a copy with the same time of modification.
    let copy = PrivateFile::temporary(file(), FileStamp { inode: 1, ..stamp() }).unwrap();
    assert_eq!(copy.copied(&saved).unwrap().map.run(7, 100), (true, 9));
    let other = FileStamp { nanoseconds: stamp().nanoseconds + 1, ..stamp() };
    let other = PrivateFile::temporary(file(), other).unwrap();
    assert!(matches!(other.copied(&saved), Err(PrivateError::OtherDisk(_))));
    let empty = PrivateFile::temporary(file(), stamp()).unwrap();
    assert!(matches!(empty.copied(&file()), Err(PrivateError::Foreign)));
}
