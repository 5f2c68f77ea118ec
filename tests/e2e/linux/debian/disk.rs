//! What Debian's programs do to its disk, and what happens to the image.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::*;

const MIB: u64 = 1 << 20;

/// Returns how many bytes a file takes on the host.
fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// Waits until the image takes less than this.
fn expect_less(image: &Path, limit: u64) {
    tests::until(&format!("{} bytes are less than {limit}", allocated(image)), || {
        (allocated(image) < limit).then_some(())
    });
}

/// Writes all over a file and verifies it, past the guest's page cache.
fn fio(guest: &mut Debian, depth: u32) {
    let job = "--name=verify --filename=/root/fio --size=24m --bs=4k --rw=randwrite --direct=1 \
               --ioengine=libaio --verify=crc32c --verify_fatal=1 --output-format=json";
    let said = guest.run(&format!("fio {job} --iodepth={depth} > fio.json; grep -c . fio.json"));
    assert_ne!(said, "0");
    assert_eq!(guest.run("grep '\"error\"' fio.json | sort -u | tr -d ' ,'"), "\"error\":0");
    // All blocks were written, and all of them were read and verified.
    let ios = guest.run("grep -E '\"total_ios\"' fio.json | head -n 2 | tr -d ' ,'");
    assert_eq!(ios, "\"total_ios\":6144\n\"total_ios\":6144");
}

#[test]
#[ignore = "needs the image of make debian: make test-debian"]
fn fio_verifies_and_fstrim_and_discard_free_space() {
    let mut guest = Debian::boot(&[]);
    let image = guest.image.clone();
    for depth in [1, 32] {
        fio(&mut guest, depth);
    }
    guest.run("rm fio; sync; fstrim /");

    let before = allocated(&image);
    guest.run("dd if=/dev/urandom of=noise bs=1M count=64 conv=fsync status=none");
    assert!(allocated(&image) > before + 60 * MIB);
    assert!(guest.run("rm noise; sync; fstrim -v /").contains("trimmed"));
    expect_less(&image, before + 4 * MIB);

    // The mount option discards by itself, with the next commit of the journal.
    guest.run("mount -o remount,discard /");
    guest.run("dd if=/dev/urandom of=noise bs=1M count=64 conv=fsync status=none");
    assert!(allocated(&image) > before + 60 * MIB);
    guest.run("rm noise; sync");
    expect_less(&image, before + 4 * MIB);
    assert_eq!(fs::metadata(&image).unwrap().len(), 2 << 30);
    guest.power_off();
}

/// VIRTIO_BLK_T_WRITE_ZEROES, with and without permission to unmap.
#[test]
#[ignore = "needs the image of make debian: make test-debian"]
fn zeroes_are_written_by_the_host() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", vec![b'x'; 64 << 20]);
    let option = format!("--block={}", disk.display());
    let mut guest = Debian::boot(&[&option]);
    // The number of write requests. As data, these zeroes would be 20 requests and more.
    let writes = "awk '{ print $5 }' /sys/block/vdb/stat";
    assert_eq!(guest.run(writes), "0");

    // Without permission to unmap, the zeroes take space on the disk. With it, they are a hole.
    guest.run("blkdiscard --zeroout --offset 1M --length 8M /dev/vdb");
    let zeroed = allocated(&disk);
    guest.run("fallocate --punch-hole --offset 16M --length 16M /dev/vdb");
    guest.run("fallocate --zero-range --keep-size --offset 48M --length 1M /dev/vdb");
    assert!(zeroed > 63 * MIB, "{zeroed}");
    expect_less(&disk, 49 * MIB);
    assert!(guest.run(writes).parse::<u32>().unwrap() < 10);

    let zeroes = [1..9, 16..32, 48..49];
    let bytes = fs::read(&disk).unwrap();
    for (number, mib) in bytes.chunks(1 << 20).enumerate() {
        let wanted = if zeroes.iter().any(|range| range.contains(&number)) { 0 } else { b'x' };
        assert!(mib.iter().all(|byte| *byte == wanted), "MiB {number}");
    }
    assert_eq!(bytes.len(), 64 << 20);
    guest.power_off();
}
