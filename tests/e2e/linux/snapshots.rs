//! Linux is saved and restored under load: its disk, network, consoles, timers and clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tests::files::Scratch;
use tests::{End, Guest, Launch, Network, environment, until};

use super::block::{MIB, image};
use super::net::{GUEST, HOST};

/// Saves the guest `one`, ends it, and returns the directory.
#[track_caller]
fn save(guest: &mut Guest, scratch: &Scratch, name: &str) -> PathBuf {
    let directory = scratch.path().join(name);
    guest.lguest(&["snapshot", "one", directory.to_str().unwrap(), "--stop"]).well();
    assert_eq!(guest.wait(), End::Status(0), "{}", guest.stderr());
    directory
}

/// Continues a guest as `one`.
fn restored(directory: &Path) -> Launch {
    Launch::restore(directory).option("--name=one")
}

/// What the guest's kernel complains about.
const COMPLAINTS: &str =
    "dmesg | grep -E 'I/O error|lockup|stall|timed out|unstable|hung|BUG|WARNING' || :";

/// The host's time, in seconds since 1970.
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// Writes numbered files of a known pattern with fsync for ever, and checks each before it is
/// overwritten.
const DISK: &str = "(n=0; while :; do n=$((n+1)); \
    dd if=/tmp/data of=/dev/vda bs=64k seek=$((n % 16 * 32)) count=32 conv=fsync 2> /tmp/dd || cat /tmp/dd; \
    echo 3 > /proc/sys/vm/drop_caches; \
    dd if=/dev/vda bs=64k skip=$((n % 16 * 32)) count=32 2> /dev/null | cmp - /tmp/data || echo differs; \
    echo $n > /tmp/rounds; done) > /tmp/disk 2>&1 &";

#[test]
fn a_guest_under_load_is_saved_and_restored_again_and_again() {
    let Some(network) = Network::new() else { return };
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk", 64 * MIB);
    let launch = Launch::linux().option("--name=one").option("--cpus=2");
    let launch = launch.option(&format!("--tunnet={HOST}"));
    let launch = launch.option(&format!("--block={},queues=2", disk.display()));
    let mut guest = Guest::of(launch.on_terminal());
    network.expect_answer(GUEST);
    guest.run("dd if=/dev/urandom of=/tmp/data bs=64k count=32 2> /dev/null");
    // A nested host's clock is unstable from the start.
    guest.run("dmesg -c > /dev/null");
    guest.run(DISK);
    guest.run(&format!("ping -i 0.01 {HOST} > /tmp/ping 2>&1 &"));
    guest.run("(while :; do sleep 0.01; echo tick >> /tmp/ticks; done) &");
    let number =
        |guest: &mut Guest, command: &str| guest.run(command).trim().parse::<u64>().unwrap();

    for round in 0..environment::snapshots() {
        until("the disk is written", || {
            (number(&mut guest, "cat /tmp/rounds 2> /dev/null || echo 0") > 0).then_some(())
        });
        guest.run("rm -f /tmp/rounds");
        let before: f64 = guest.run("cut -d' ' -f1 /proc/uptime").parse().unwrap();
        let directory = save(&mut guest, &scratch, &round.to_string());
        guest = Guest::continued(restored(&directory).on_terminal());
        let uptime: f64 = guest.run("cut -d' ' -f1 /proc/uptime").parse().unwrap();
        assert!(uptime >= before, "the monotonic clock went back from {before} to {uptime}");
        let (early, told, late) = (now(), number(&mut guest, "date +%s"), now());
        let told = told.cast_signed();
        assert!((early - 1..=late + 1).contains(&told), "{told} is not from {early} to {late}");
        network.expect_answer(GUEST);
        let ticks = number(&mut guest, "wc -l < /tmp/ticks");
        until("timers run", || (number(&mut guest, "wc -l < /tmp/ticks") > ticks).then_some(()));
        fs::remove_dir_all(&directory).unwrap();
    }

    guest.run("killall ping; killall sh || :");
    assert_eq!(guest.run("cat /tmp/disk"), "");
    assert_eq!(guest.run(COMPLAINTS), "");
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr(), "");
}

#[test]
fn a_reboot_after_a_restore_is_a_cold_start() {
    let scratch = Scratch::new();
    let mut guest = Guest::of(Launch::linux().option("--name=one").on_terminal());
    guest.run("echo kept > /tmp/note");
    let directory = save(&mut guest, &scratch, "saved");
    let mut guest = Guest::continued(restored(&directory).on_terminal());
    assert_eq!(guest.run("cat /tmp/note"), "kept");
    guest.type_line("reboot -f");
    guest.expect(tests::PROMPT);
    assert_eq!(guest.run("ls /tmp"), "");
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr(), "");
}

/// What the guest wrote before is in the snapshot, and what it wrote later is not.
#[test]
fn a_copy_on_write_disk_is_saved_with_its_guest() {
    let scratch = Scratch::new();
    let disk = image(&scratch, "disk", 16 * MIB);
    let before = fs::read(&disk).unwrap();
    let launch = Launch::linux().option("--name=one");
    let launch = launch.option(&format!("--block={},cow", disk.display()));
    let mut guest = Guest::of(launch.on_terminal());
    let write =
        |text: &str| format!("echo {text} | dd of=/dev/vda bs=512 conv=sync,fsync 2> /dev/null");
    guest.run(&write("first"));
    let directory = scratch.path().join("saved");
    guest.lguest(&["snapshot", "one", directory.to_str().unwrap()]).well();
    guest.run(&write("later"));
    let read = "echo 3 > /proc/sys/vm/drop_caches; head -c 5 /dev/vda; echo";
    assert_eq!(guest.run(read), "later");

    let clone = || Guest::continued(Launch::restore(&directory).on_terminal());
    let mut clones = [clone(), clone()];
    for clone in &mut clones {
        assert_eq!(clone.run(read), "first");
    }
    let [one, other] = &mut clones;
    one.run(&write("mine1"));
    other.run(&write("mine2"));
    assert_eq!([one.run(read), other.run(read), guest.run(read)], ["mine1", "mine2", "later"]);
    for guest in [one, other, &mut guest] {
        assert_eq!(guest.power_off(), End::Status(0));
    }
    assert!(fs::read(&disk).unwrap() == before, "the image has changed");
}

/// A half-typed line, settings of the guest's terminal, and a program that has the screen.
#[test]
fn the_guests_terminal_is_as_it_was() {
    let scratch = Scratch::new();
    let mut guest = Guest::of(Launch::linux().option("--name=one").on_terminal());
    guest.run("stty -echo; stty erase '#'");
    guest.send("echo half");
    let directory = save(&mut guest, &scratch, "half");
    let mut guest = Guest::continued(restored(&directory).on_terminal());
    guest.send(" and half\r");
    guest.expect("half and half\r\n");
    assert!(guest.run("stty -a").contains("erase = #"));

    guest.send("vi /tmp/text\r");
    guest.expect("/tmp/text");
    guest.send("ifirst half");
    until("vi has the keys", || guest.text().contains("first half").then_some(()));
    let directory = save(&mut guest, &scratch, "vi");
    let mut guest = Guest::continued(restored(&directory).on_terminal());
    // busybox' vi loses what follows Escape in the same read.
    guest.send(", second half");
    until("vi has the rest", || guest.text().contains("half").then_some(()));
    guest.send("\u{1b}");
    guest.expect("[Modified]");
    guest.send(":wq\r");
    guest.expect(tests::PROMPT);
    assert_eq!(guest.run("cat /tmp/text"), "first half, second half");
    assert_eq!(guest.power_off(), End::Status(0));
}
