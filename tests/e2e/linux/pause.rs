//! Linux is paused repeatedly under load. `kvm::control::pause` tests what its launcher does then.

use std::thread::sleep;
use std::time::Duration;

use tests::files::Scratch;
use tests::{End, Guest, HangingDisk, Launch, Network, until};

use super::block::{MIB, image};
use super::net::{GUEST, HOST};

/// Frames accumulate for this long, and timers of the host continue.
const MEANWHILE: Duration = Duration::from_millis(300);

/// Writes 8 MiB six times, and reads them back.
const DISK: &str = "(for n in 0 1 2 3 4 5; do \
    dd if=/tmp/data of=/dev/vda bs=64k seek=$((n * 128)) conv=fsync 2> /dev/null || echo failed; \
    echo 3 > /proc/sys/vm/drop_caches; \
    dd if=/dev/vda bs=64k skip=$((n * 128)) count=128 2> /dev/null | cmp - /tmp/data; \
    done; echo done) > /tmp/disk 2>&1 &";

#[test]
fn a_pause_loses_no_disk_data_and_no_frames() {
    let Some(network) = Network::new() else { return };
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk", 64 * MIB);
    let launch = Launch::linux().option("--name=one").option(&format!("--tunnet={HOST}"));
    let launch = launch.option(&format!("--block={},queues=2", disk.display()));
    let mut guest = Guest::of(launch.on_terminal());
    network.expect_answer(GUEST);
    guest.run("dd if=/dev/urandom of=/tmp/data bs=1M count=8 2> /dev/null");
    guest.run(&format!("ping -i 0.1 {HOST} > /tmp/ping 2>&1 &"));
    guest.run(DISK);

    for _ in 0..8 {
        guest.lguest(&["pause", "one"]).well();
        assert!(["blk0-q0", "net0-rx"].iter().all(|it| guest.process().thread(it).is_none()));
        sleep(MEANWHILE);
        guest.lguest(&["resume", "one"]).well();
        // Both CPUs have run since.
        guest.run("echo turn");
        network.expect_answer(GUEST);
    }

    guest.run("until grep done /tmp/disk; do sleep 0.2; done; killall -INT ping; wait");
    assert_eq!(guest.run("cat /tmp/disk"), "done");
    let said = guest.run("tail -n 2 /tmp/ping");
    assert!(said.contains(" 0% packet loss"), "{said}");
    assert_eq!(guest.run("dmesg | grep -E 'I/O error|lockup|stall|timed out' || :"), "");
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr(), "");
}

/// The pending request would write to the memory of a paused guest.
#[test]
fn a_pause_fails_while_a_disk_hangs_and_the_guest_continues() {
    let scratch = Scratch::new();
    let Some(disk) = HangingDisk::new(scratch.path(), 16 * MIB) else { return };
    let launch = Launch::linux().option("--name=one");
    let launch = launch.option(&format!("--block={}", disk.path().display()));
    let mut guest = Guest::of(launch.on_terminal());
    disk.hang();
    guest.run("dd if=/dev/vda of=/dev/null bs=64k skip=4 count=1 2> /dev/null &");
    until("a read hangs", || (disk.waiting() > 0).then_some(()));

    let said = guest.lguest(&["pause", "one"]).one_line();
    assert!(said.contains("blk0-q0: in a system call of the host's that hangs"), "{said}");
    assert_eq!(guest.run("echo alive"), "alive");
    disk.go_on();
    guest.run("wait");

    guest.lguest(&["pause", "one"]).well();
    guest.lguest(&["resume", "one"]).well();
    guest.run("cmp -n 65536 /dev/vda /dev/zero");
    assert_eq!(guest.power_off(), End::Status(0));
}
