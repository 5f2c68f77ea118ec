//! Copy-on-write disks: what the guest reads, what is in the private file, and that the disk's
//! file never changes.

use std::os::unix::fs::FileExt;

use super::*;
use crate::Memory;
use crate::block::{FileStamp, PrivateFile};
use crate::request::Buffers;
use crate::testing::log;

mod full;
mod model;
mod threads;

/// The stamp of a file that does not change.
fn stamp(file: &File) -> FileStamp {
    let metadata = file.metadata().unwrap();
    FileStamp::new(&metadata, metadata.len())
}

/// A copy-on-write image of a file. Returns the private file as well.
fn temporary(base: &File) -> (Image, File) {
    let file = tempfile::tempfile().unwrap();
    let private = PrivateFile::temporary(file.try_clone().unwrap(), stamp(base)).unwrap();
    (with(base, private), file)
}

/// A copy-on-write image whose private part is in this file.
fn kept(base: &File, private: &File) -> Image {
    with(base, PrivateFile::kept(private.try_clone().unwrap(), stamp(base)).unwrap())
}

fn with(base: &File, private: PrivateFile) -> Image {
    // Nothing could be written by this descriptor.
    let base = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(base)));
    Image::copy_on_write(base.unwrap(), private, "cow.img").unwrap()
}

/// Guest memory, through which an image is read and written without a device.
struct Direct(Memory);

impl Direct {
    fn new() -> Self {
        Self(crate::testing::memory())
    }

    fn buffers(&self, length: usize) -> Buffers<'_> {
        let mut buffers = Buffers::default();
        let at = vm_memory::GuestAddress(0x1000);
        let slice = vm_memory::GuestMemoryBackend::get_slice(&self.0, at, length).unwrap();
        buffers.push(&slice);
        buffers
    }

    fn read(&self, image: &Image, sector: u64, sectors: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(sectors * SECTOR).unwrap()];
        let (mut buffers, mut at) = (self.buffers(bytes.len()), sector * SECTOR);
        while !buffers.is_empty() {
            at += image.read(&mut buffers, at).unwrap();
        }
        vm_memory::Bytes::read_slice(&self.0, &mut bytes, vm_memory::GuestAddress(0x1000)).unwrap();
        bytes
    }

    fn write(&self, image: &Image, sector: u64, bytes: &[u8]) {
        vm_memory::Bytes::write_slice(&self.0, bytes, vm_memory::GuestAddress(0x1000)).unwrap();
        let (mut buffers, mut at) = (self.buffers(bytes.len()), sector * SECTOR);
        while !buffers.is_empty() {
            at += image.write(&mut buffers, at).unwrap();
        }
    }
}

#[test]
fn a_guest_reads_what_it_wrote_and_the_file_stays_as_it_was() {
    let file = file(100);
    let (image, private) = temporary(&file);
    let mut guest = guest(image);

    assert_eq!(read(&mut guest, 0, 51200).data, contents(0..100));
    assert_eq!(give(&mut guest, OUT, 3, &[1; 512]), OK);
    assert_eq!(give(&mut guest, OUT, 5, &[2; 1024]), OK);
    assert_eq!(give(&mut guest, OUT, 99, &[3; 512]), OK);
    assert_eq!(give(&mut guest, FLUSH, 0, b""), OK);
    let wanted = [
        contents(0..3),
        vec![1; 512],
        contents(4..5),
        vec![2; 1024],
        contents(7..99),
        vec![3; 512],
    ];
    let answer = read(&mut guest, 0, 51200);
    assert_eq!((answer.status, answer.used), (OK, 51201));
    assert!(answer.data == wanted.concat());
    assert!(read_all(&file) == contents(0..100));
    assert_eq!(private.metadata().unwrap().len(), 51200);
}

#[test]
fn a_copy_on_write_disk_offers_what_a_writable_one_does() {
    let file = file(100);
    let mut plain = guest(image(&file));
    let mut cow = guest(temporary(&file).0);
    assert_eq!(cow.offered(), plain.offered());
    assert_eq!(config(&mut cow), config(&mut plain));
}

#[test]
fn a_partial_last_sector_of_the_file_is_not_part_of_the_disk() {
    let mut file = file(3);
    file.write_all(b"and more").unwrap();
    let (image, _) = temporary(&file);
    assert_eq!(image.length(), 3 * 512);
    let mut guest = guest(image);
    assert_eq!(give(&mut guest, OUT, 3, &[1; 512]), IO_ERROR);
    assert_eq!(read(&mut guest, 0, 1536).data, contents(0..3));
}

#[test]
fn a_reset_does_not_forget_what_was_written() {
    let file = file(8);
    let mut guest = guest(temporary(&file).0);
    assert_eq!(give(&mut guest, OUT, 3, &[1; 512]), OK);
    guest.reset();
    guest.start();
    assert_eq!(read(&mut guest, 3, 512).data, [1; 512]);
}

#[test]
fn a_discard_frees_blocks_of_the_private_file_and_hides_those_of_the_disk() {
    let file = file(128);
    let (image, private) = temporary(&file);
    let mut guest = guest(image);
    assert_eq!(give(&mut guest, OUT, 0, &[1; 32768]), OK);
    private.sync_all().unwrap();
    assert_eq!(allocated(&private), 32768);

    assert_eq!(give(&mut guest, DISCARD, 0, &extent(0, 32, 0)), OK);
    assert_eq!(give(&mut guest, DISCARD, 0, &extent(100, 1, 0)), OK);
    assert_eq!(allocated(&private), 16384);
    let wanted = [vec![0; 16384], vec![1; 16384], contents(64..100), vec![0; 512]].concat();
    let data = read(&mut guest, 0, 65536).data;
    assert!(data[..wanted.len()] == wanted && data[wanted.len()..] == contents(101..128));
    assert!(read_all(&file) == contents(0..128));
}

#[test]
fn write_zeroes_takes_blocks_only_without_leave_to_unmap() {
    for (place, flags) in [("/tmp", 0), ("/tmp", 1), ("/dev/shm", 0), ("/dev/shm", 1)] {
        let file = file(128);
        let private = tempfile::tempfile_in(place).unwrap();
        let part = PrivateFile::temporary(private.try_clone().unwrap(), stamp(&file)).unwrap();
        let mut guest = guest(with(&file, part));
        assert_eq!(give(&mut guest, WRITE_ZEROES, 0, &extent(8, 64, flags)), OK);
        let wanted = [contents(0..8), vec![0; 32768], contents(72..128)].concat();
        assert!(read(&mut guest, 0, 65536).data == wanted, "{place} {flags}");
        private.sync_all().unwrap();
        assert_eq!(allocated(&private), if flags == 0 { 32768 } else { 0 }, "{place} {flags}");
        assert!(read_all(&file) == contents(0..128));
    }
}

/// After a crash, nobody can read the private part: there is nothing to make stable.
#[test]
fn a_flush_of_a_temporary_part_waits_for_nothing() {
    let file = file(8);
    let (image, _) = temporary(&file);
    let mut guest = FakeGuest::found(disk(image));
    guest.without = FLUSH_FEATURE;
    guest.start();
    assert_eq!(give(&mut guest, OUT, 0, &[1; 512]), OK);
    assert_eq!(give(&mut guest, FLUSH, 0, b""), OK);
}

#[test]
fn a_driver_that_cannot_flush_gets_its_writes_kept() {
    let (file, private) = (file(8), tempfile::tempfile().unwrap());
    let mut guest = FakeGuest::found(disk(kept(&file, &private)));
    guest.without = FLUSH_FEATURE;
    guest.start();
    assert_eq!(give(&mut guest, OUT, 3, &[1; 512]), OK);
    // As after a kill: the first image still exists.
    let again = kept(&file, &private);
    assert_eq!(Direct::new().read(&again, 3, 1), [1; 512]);
}

#[test]
fn a_kept_part_is_there_in_the_next_launch() {
    let (file, private) = (file(100), tempfile::tempfile().unwrap());
    for sync in [true, false] {
        let image = kept(&file, &private);
        let image = if sync { image } else { image.without_sync() };
        let mut guest = guest(image);
        let (sector, byte) = if sync { (3, 1) } else { (50, 2) };
        assert_eq!(give(&mut guest, OUT, sector, &[byte; 1024]), OK);
        // There is no flush: the map is written when the disk is closed.
    }
    let image = kept(&file, &private);
    let wanted =
        [contents(0..3), vec![1; 1024], contents(5..50), vec![2; 1024], contents(52..100)].concat();
    assert!(Direct::new().read(&image, 0, 100) == wanted);
    assert!(read_all(&file) == contents(0..100));
}

#[test]
fn without_a_flush_a_killed_guest_may_lose_what_it_wrote() {
    let (file, private) = (file(8), tempfile::tempfile().unwrap());
    let (image, direct) = (kept(&file, &private), Direct::new());
    direct.write(&image, 0, &[1; 512]);
    image.flush().unwrap();
    direct.write(&image, 1, &[2; 512]);
    let again = kept(&file, &private);
    assert!(direct.read(&again, 0, 8) == [vec![1; 512], contents(1..8)].concat());
}

#[test]
fn after_a_failed_flush_the_map_stays_as_it_was() {
    let (file, private) = (file(8), tempfile::tempfile().unwrap());
    let (image, direct) = (kept(&file, &private), Direct::new());
    direct.write(&image, 0, &[1; 512]);
    image.flush().unwrap();
    direct.write(&image, 1, &[2; 512]);
    image.flush_failed.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(image.flush().is_err());
    drop(image);
    assert!(direct.read(&kept(&file, &private), 0, 2) == [vec![1; 512], contents(1..2)].concat());
}

#[test]
fn a_saved_private_part_is_the_beginning_of_other_disks() {
    let file = file(40 << 11);
    let direct = Direct::new();
    let first_kept = tempfile::tempfile().unwrap();
    for first in [temporary(&file).0, kept(&file, &first_kept)] {
        direct.write(&first, 3, &[1; 512]);
        direct.write(&first, 33 << 11, &[2; 4096]);
        first.discard(&(8192..16384)).unwrap();
        let saved = tempfile::tempfile().unwrap();
        first.save_private(&saved).unwrap();
        let before = read_all(&saved);
        direct.write(&first, 3, &[9; 512]);

        let new = || PrivateFile::temporary(tempfile::tempfile().unwrap(), stamp(&file)).unwrap();
        let second_kept = tempfile::tempfile().unwrap();
        let second = PrivateFile::kept(second_kept.try_clone().unwrap(), stamp(&file)).unwrap();
        for part in [new(), second] {
            let second = with(&file, part.copied(&saved).unwrap());
            assert_eq!(direct.read(&second, 3, 1), [1; 512]);
            assert_eq!(direct.read(&second, 33 << 11, 9)[..4096], [2; 4096]);
            assert_eq!(direct.read(&second, 16, 16), [0; 8192]);
            assert!(direct.read(&second, 32, 100) == contents(32..132));
            direct.write(&second, 3, &[7; 512]);
            // It can be saved again.
            second.save_private(&tempfile::tempfile().unwrap()).unwrap();
        }
        assert!(read_all(&saved) == before);
        assert!(allocated(&saved) < 1 << 20, "{} bytes", allocated(&saved));
        assert_eq!(direct.read(&first, 3, 1), [9; 512]);
        assert_eq!(direct.read(&kept(&file, &second_kept), 3, 1), [7; 512]);
    }
    assert!(image(&file).save_private(&tempfile::tempfile().unwrap()).is_err());
}

#[test]
fn a_file_that_becomes_shorter_is_an_error_only_where_it_is_read() {
    let file = file(64);
    let mut guest = guest(temporary(&file).0);
    assert_eq!(give(&mut guest, OUT, 40, &[1; 512]), OK);
    file.set_len(512 * 20).unwrap();
    assert_eq!(read(&mut guest, 40, 512).data, [1; 512]);
    assert_eq!(read(&mut guest, 19, 512).status, OK);
    assert_eq!(read(&mut guest, 20, 512).status, IO_ERROR);
    assert_eq!(give(&mut guest, OUT, 20, &[1; 512]), OK);
    assert_eq!(read(&mut guest, 20, 512).data, [1; 512]);
}

#[test]
fn an_image_has_its_stamp() {
    let file = file(64);
    let (cow, plain) = (temporary(&file).0, image(&file));
    assert_eq!(cow.stamp().unwrap(), plain.stamp().unwrap());
    file.write_all_at(&[0], 0).unwrap();
    file.set_len(1024).unwrap();
    assert_eq!(cow.stamp().unwrap().length, 32768, "that of the time when it was opened");
    assert_eq!(plain.stamp().unwrap().length, 1024);
    assert!(cow.is_copy_on_write() && !plain.is_copy_on_write());
}
