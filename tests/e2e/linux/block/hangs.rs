//! A disk that hangs: its queue thread is in a read that no signal ends. The rest of the guest
//! works, and the user can end it.

use nix::sys::signal::Signal;
use tests::{HangingDisk, PROMPT, until};

use super::*;

/// Starts a guest in which a process waits for the disk.
fn hung(disk: &HangingDisk) -> Guest {
    let mut guest = boot(disk.path(), "");
    disk.hang();
    // These blocks were not read when the guest looked for partitions.
    guest.run("dd if=/dev/vda of=/dev/null bs=64k skip=4 count=1 2> /dev/null &");
    until("a read hangs", || (disk.waiting() > 0).then_some(()));
    guest
}

fn disk(scratch: &Scratch) -> Option<HangingDisk> {
    HangingDisk::new(scratch.path(), 16 * MIB)
}

#[test]
fn a_hanging_disk_blocks_neither_the_guest_nor_its_end() {
    let scratch = Scratch::new();
    let Some(disk) = disk(&scratch) else { return };
    let mut guest = hung(&disk);
    assert_eq!(guest.run("echo alive"), "alive");

    guest.process().signal(Signal::SIGTERM);

    assert_eq!(guest.wait(), End::Status(143));
    assert!(guest.stderr().contains("blk0-q0: in a system call"), "{}", guest.stderr());
    guest.assert_terminal_restored();
}

/// This reboots at once; "reboot -f" would wait for the disk.
const REBOOT: &str = "echo b > /proc/sysrq-trigger";

/// The pending read would write into the next guest's memory.
#[test]
fn a_reboot_waits_for_a_hanging_disk_and_can_be_ended() {
    let scratch = Scratch::new();
    let Some(disk) = disk(&scratch) else { return };
    let mut guest = hung(&disk);

    guest.type_line(REBOOT);
    guest.expect_stderr("blk0-q0: in a system call of the host's that hangs: waiting for it");
    guest.press_three_ctrl_c();

    assert_eq!(guest.wait(), End::Status(130));
    guest.assert_terminal_restored();
}

#[test]
fn a_reboot_continues_when_the_disk_answers() {
    let scratch = Scratch::new();
    let Some(disk) = disk(&scratch) else { return };
    let mut guest = hung(&disk);

    guest.type_line(REBOOT);
    guest.expect_stderr("waiting for it");
    disk.go_on();

    guest.expect(PROMPT);
    guest.run("cmp -n 65536 /dev/vda /dev/zero");
    assert_eq!(guest.power_off(), End::Status(0));
}
