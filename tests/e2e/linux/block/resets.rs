//! Resets under load: of the device by its driver, and of the guest by itself.

use tests::{PROMPT, Process, until};

use super::*;

/// Starts endless writes beside the shell.
fn load(guest: &mut Guest) {
    guest.run(
        "(while [ -b /dev/vda ]; do dd if=/dev/zero of=/dev/vda bs=64k seek=16 count=512 conv=fsync; done) \
         > /dev/null 2>&1 &",
    );
    guest.run("until [ $(awk '{ print $7 }' /sys/block/vda/stat) -gt 2000 ]; do sleep 0.1; done");
}

fn held(process: Process) -> (usize, usize) {
    (process.descriptors().len(), process.threads().len())
}

#[test]
fn the_driver_is_unbound_and_bound_while_the_disk_is_busy() {
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk", 64 * MIB);
    let mut guest = boot(&disk, ",queues=2");
    guest.run("yes kept | dd of=/dev/vda bs=64k count=1 iflag=fullblock conv=fsync 2> /dev/null");
    guest.run("device=$(basename $(readlink /sys/block/vda/device))");
    let before = held(guest.process());

    for _ in 0..5 {
        load(&mut guest);
        guest.run(
            "echo $device > /sys/bus/virtio/drivers/virtio_blk/unbind; [ ! -e /sys/block/vda ]",
        );
        // A dd that came too late has created a file.
        guest.run("wait; rm -f /dev/vda");
        until("the threads have ended", || {
            guest.process().thread("blk0-q0").is_none().then_some(())
        });
        guest.run("echo $device > /sys/bus/virtio/drivers/virtio_blk/bind; [ -b /dev/vda ]");
        guest.run("yes kept | head -c 65536 | cmp - /dev/vda -n 65536");
    }

    until("descriptors and threads are as before", || {
        (held(guest.process()) == before).then_some(())
    });
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr(), "");
}

#[test]
fn a_guest_reboots_while_its_disk_is_busy() {
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk", 64 * MIB);
    let mut guest = boot(&disk, "");
    guest.run("yes kept | dd of=/dev/vda bs=64k count=1 iflag=fullblock conv=fsync 2> /dev/null");
    let before = held(guest.process());

    for _ in 0..2 {
        load(&mut guest);
        guest.type_line("reboot -f");
        guest.expect("reboot -f\r\n");
        guest.expect(PROMPT);
        guest.run("yes kept | head -c 65536 | cmp - /dev/vda -n 65536");
    }

    assert_eq!(held(guest.process()), before);
    assert_eq!(fs::metadata(&disk).unwrap().len(), 64 * MIB);
    assert_eq!(guest.power_off(), End::Status(0));
}
