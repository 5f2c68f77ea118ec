//! Zeroes that the guest does not have to send (VIRTIO_BLK_T_WRITE_ZEROES).

use tests::{files, kernel};

use super::*;

#[test]
fn zeroes_are_written_by_the_host() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", vec![b'x'; 64 << 20]);
    let zero = |mib: u32, count: u32, unmap| kernel::zero_program(mib << 20, count << 20, unmap);
    let programs = files::initrd(&[("zero", &zero(1, 8, false)), ("punch", &zero(16, 16, true))]);
    let launch = Launch::linux().initrd(scratch.file("programs", programs));
    let mut guest = Guest::of(with_disk(launch, &disk, "").on_terminal());
    let full = allocated(&disk);

    guest.run("/zero 3<> /dev/vda");
    assert_eq!(allocated(&disk), full, "without leave to unmap");
    guest.run("/punch 3<> /dev/vda");
    assert_eq!(allocated(&disk), full - 16 * MIB);

    // Each command is one request, not one request per page.
    assert_eq!(guest.run("awk '{ print $5 }' /sys/block/vda/stat"), "2");
    let bytes = fs::read(&disk).unwrap();
    for (number, mib) in bytes.chunks(1 << 20).enumerate() {
        let zero = (1..9).contains(&number) || (16..32).contains(&number);
        let wanted = if zero { 0 } else { b'x' };
        assert!(mib.iter().all(|byte| *byte == wanted), "MiB {number}");
    }
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(fs::metadata(&disk).unwrap().len(), 64 << 20);
}
