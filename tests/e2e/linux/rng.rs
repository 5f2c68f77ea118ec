//! Random numbers for the guest.

use tests::{Guest, Launch};

#[test]
fn the_guest_has_a_generator_that_works() {
    let mut guest = Guest::of(Launch::linux().option("--rng").on_terminal());
    assert_eq!(guest.run("cat /sys/class/misc/hw_random/rng_current"), "virtio_rng.0");
    let read = "dd if=/dev/hwrng bs=64 count=4 iflag=fullblock 2> /dev/null";
    assert_eq!(guest.run(&format!("{read} | wc -c")), "256");
    let first = guest.run(&format!("{read} | sha256sum"));
    assert_ne!(guest.run(&format!("{read} | sha256sum")), first);
    assert!(guest.process().thread("rng0-req").is_some(), "{:?}", guest.process().threads());

    // 1 MiB of random data cannot be compressed.
    let packed = guest.run_within(
        "dd if=/dev/hwrng bs=64k count=16 iflag=fullblock 2> /dev/null | gzip | wc -c",
        tests::patience() * 2,
    );
    assert!(packed.parse::<u32>().unwrap() > 1 << 20, "{packed}");

    // The driver is bound again after a reset of the device.
    let driver = "/sys/bus/virtio/drivers/virtio_rng";
    guest.run(&format!("cd {driver}; set virtio*; echo $1 > unbind; echo $1 > bind; cd /"));
    assert_eq!(guest.run(&format!("{read} | wc -c")), "256");
}
