//! O_DIRECT with guest memory of any alignment. The files are opened without O_DIRECT, so that any
//! file system will do. The device keeps the alignment nevertheless; one test opens its file with O_DIRECT if
//! the host allows it.

use std::os::unix::fs::OpenOptionsExt;

use super::*;

#[test]
fn the_guest_reads_the_block_size() {
    let file = file(100);
    let mut guest = guest(image(&file).direct(4096));

    let config = config(&mut guest);
    assert_eq!(config[..8], 96_u64.to_le_bytes(), "whole blocks");
    assert_eq!(u32_at(&config, 20), 4096, "blk_size");
    assert_eq!(config[24], 0, "physical_block_exp");
    assert_eq!(u32_at(&config, 44), 8, "discard_sector_alignment");
}

#[test]
fn parts_of_blocks_are_refused() {
    let file = file(16);
    let mut guest = guest(image(&file).direct(4096));

    assert_eq!(read(&mut guest, 1, 4096).status, IO_ERROR);
    assert_eq!(read(&mut guest, 0, 512).status, IO_ERROR);
    assert_eq!(give(&mut guest, OUT, 0, &[1; 512]), IO_ERROR);
    assert_eq!(give(&mut guest, DISCARD, 0, &extent(1, 8, 0)), IO_ERROR);
    assert!(read_all(&file) == contents(0..16));
}

/// On a file that really was opened with O_DIRECT, if the file system has that.
#[test]
fn direct_io_works_with_memory_of_any_alignment() {
    let plain = tempfile::NamedTempFile::new().unwrap();
    plain.as_file().write_all(&contents(0..1024)).unwrap();
    let mut options = File::options();
    options.read(true).write(true);
    let direct = options.custom_flags(libc::O_DIRECT).open(plain.path());
    let direct = direct.unwrap_or_else(|_| plain.reopen().unwrap());
    let mut guest = guest(image(&direct).direct(4096));

    // Buffers of the fake guest lie at multiples of 16.
    for (sector, length) in [(0_u64, 4096_u32), (8, 300 << 10), (0, 512 << 10)] {
        let sectors = u64::from(length) / 512;
        let parts =
            [FromGuest(&header(IN, sector)), ToGuest(100), ToGuest(length - 100), ToGuest(1)];
        let answer = ask(&mut guest, &parts);
        assert_eq!((answer.status, answer.used), (OK, length + 1));
        assert!(answer.data == contents(sector..sector + sectors));
    }
    let data: Vec<u8> =
        (0..300 << 10_u32).map(|n: u32| n.to_le_bytes()[(n % 3) as usize]).collect();
    let parts =
        [FromGuest(&header(OUT, 16)), FromGuest(&data[..1]), FromGuest(&data[1..]), ToGuest(1)];
    assert_eq!(ask(&mut guest, &parts).status, OK);
    assert_eq!(give(&mut guest, FLUSH, 0, b""), OK);
    let all = read_all(plain.as_file());
    assert!(all[16 * 512..][..300 << 10] == data);
    assert!(all[..16 * 512] == contents(0..16));
}

#[test]
fn buffers_know_their_alignment() {
    let memory = crate::testing::memory();
    let mut buffers = crate::request::Buffers::default();
    let slice = |at, length| {
        vm_memory::GuestMemoryBackend::get_slice(&memory, vm_memory::GuestAddress(at), length)
    };
    buffers.push(&slice(0x1000, 8192).unwrap());
    assert!(buffers.is_aligned(4096));
    buffers.push(&slice(0x8000, 512).unwrap());
    assert!(buffers.is_aligned(512) && !buffers.is_aligned(4096));
    buffers.push(&slice(0x9010, 512).unwrap());
    assert!(!buffers.is_aligned(512));
}
