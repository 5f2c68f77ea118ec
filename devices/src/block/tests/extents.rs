//! DISCARD and WRITE_ZEROES.

use super::*;

/// A file with 64 KiB of data.
fn full() -> File {
    file(128)
}

/// Everything but these sectors is as it was; they are zero.
fn assert_cleared(file: &File, cleared: std::ops::Range<u64>) {
    let wanted = [
        contents(0..cleared.start),
        vec![0; ((cleared.end - cleared.start) * SECTOR).try_into().unwrap()],
        contents(cleared.end..128),
    ];
    assert!(read_all(file) == wanted.concat());
}

#[test]
fn a_discard_frees_blocks_and_keeps_the_length() {
    let file = full();
    file.sync_all().unwrap();
    let before = allocated(&file);
    let mut guest = guest(image(&file));

    assert_eq!(give(&mut guest, DISCARD, 0, &extent(16, 64, 0)), OK);

    assert_eq!(before - allocated(&file), 64 * 512);
    assert_cleared(&file, 16..80);
}

#[test]
fn write_zeroes_with_unmap_frees_blocks() {
    let file = full();
    file.sync_all().unwrap();
    let before = allocated(&file);
    let mut guest = guest(image(&file));

    assert_eq!(give(&mut guest, WRITE_ZEROES, 0, &extent(16, 64, 1)), OK);

    assert_eq!(before - allocated(&file), 64 * 512);
    assert_cleared(&file, 16..80);
}

#[test]
fn write_zeroes_without_unmap_keeps_blocks() {
    let file = full();
    file.sync_all().unwrap();
    let before = allocated(&file);
    let mut guest = guest(image(&file));

    assert_eq!(give(&mut guest, WRITE_ZEROES, 0, &extent(16, 64, 0)), OK);
    file.sync_all().unwrap();

    assert_eq!(allocated(&file), before);
    assert_cleared(&file, 16..80);
}

#[test]
fn write_zeroes_needs_no_alignment() {
    let file = full();
    let mut guest = guest(image(&file));

    assert_eq!(give(&mut guest, WRITE_ZEROES, 0, &extent(3, 17, 1)), OK);
    assert_cleared(&file, 3..20);
    assert_eq!(give(&mut guest, WRITE_ZEROES, 0, &extent(20, 2, 0)), OK);
    assert_cleared(&file, 3..22);
}

#[test]
fn several_extents_are_done_in_one_request() {
    let file = full();
    let mut guest = guest(image(&file));

    let extents = [extent(8, 8, 1), extent(16, 0, 1), extent(16, 8, 0), extent(24, 40, 1)];
    assert_eq!(give(&mut guest, WRITE_ZEROES, 0, &extents.concat()), OK);

    assert_cleared(&file, 8..64);
}

#[test]
fn a_refused_command_changes_nothing() {
    let file = full();
    let mut guest = guest(image(&file));
    let good = extent(0, 8, 0);
    let rows: &[(&str, u32, Vec<u8>, u8)] = &[
        ("no extent", DISCARD, vec![], IO_ERROR),
        ("half an extent", DISCARD, good[..8].to_vec(), IO_ERROR),
        ("one and a half", WRITE_ZEROES, [&good[..], &good[..8]].concat(), IO_ERROR),
        ("past the end", DISCARD, extent(128, 1, 0).into(), IO_ERROR),
        ("across the end", WRITE_ZEROES, extent(127, 2, 0).into(), IO_ERROR),
        ("a sector that overflows", DISCARD, extent(1 << 55, 1, 0).into(), IO_ERROR),
        ("an end that overflows", DISCARD, extent(u64::MAX, u32::MAX, 0).into(), IO_ERROR),
        ("more than is allowed", WRITE_ZEROES, extent(0, u32::MAX, 0).into(), IO_ERROR),
        ("an unknown flag", WRITE_ZEROES, extent(0, 8, 2).into(), UNSUPPORTED),
        ("unmap and an unknown flag", WRITE_ZEROES, extent(0, 8, 3).into(), UNSUPPORTED),
        ("a discard with a flag", DISCARD, extent(0, 8, 1).into(), UNSUPPORTED),
        ("more extents than allowed", DISCARD, good.repeat(17), UNSUPPORTED),
        ("a good one and a bad one", DISCARD, [good, extent(128, 1, 0)].concat(), IO_ERROR),
    ];
    for (what, kind, data, status) in rows {
        assert_eq!(give(&mut guest, *kind, 0, data), *status, "{what}");
    }
    assert_cleared(&file, 0..0);
    assert_eq!(give(&mut guest, DISCARD, 0, &good.repeat(16)), OK);
    assert_cleared(&file, 0..8);
}

#[test]
fn an_extent_has_two_gigabytes_at_most() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(3 << 30).unwrap();
    let mut guest = guest(image(&file));

    assert_eq!(give(&mut guest, DISCARD, 0, &extent(0, 1 << 22, 0)), OK);
    assert_eq!(give(&mut guest, DISCARD, 0, &extent(0, (1 << 22) + 1, 0)), IO_ERROR);
}

/// tmpfs makes holes, and has no other way to clear.
#[test]
fn zeroes_are_written_if_the_host_cannot_clear() {
    let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
    file.write_all(&vec![0x55; 3 << 20]).unwrap();
    let image = image(&file);

    // In pieces, so that a reset need not wait long.
    assert_eq!(image.zero(&(0..2 << 20), false).unwrap(), 1 << 20);
    assert_eq!(image.zero(&((1 << 20) + 512..(1 << 20) + 1024), false).unwrap(), 512);
    let bytes = read_all(&file);
    assert!(bytes[..1 << 20].iter().all(|byte| *byte == 0));
    assert_eq!(bytes[1 << 20..][..512], [0x55; 512]);
    assert_eq!(bytes[1 << 20..][512..1024], [0; 512]);
    assert!(bytes[(1 << 20) + 1024..].iter().all(|byte| *byte == 0x55));

    let mut guest = guest(image);
    assert_eq!(give(&mut guest, WRITE_ZEROES, 0, &extent(0, 6144, 0)), OK);
    assert!(read_all(&file) == vec![0; 3 << 20]);
    assert_eq!(allocated(&file), 3 << 20);
}

/// A discard is a hint. Nothing but a pretence of a disk, for the sake of its error.
#[test]
fn a_discard_does_nothing_if_the_host_cannot_discard() {
    let device = File::options().read(true).write(true).open("/dev/null").unwrap();
    let mut guest = guest(Image::new(device, "null", 1 << 20).unwrap());

    assert_eq!(give(&mut guest, DISCARD, 0, &extent(0, 8, 0)), OK);
}
