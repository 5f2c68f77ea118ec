//! One command in a guest: its output is on our stdout, its input comes from our stdin, and its
//! status is our status.

mod all_options;
mod directories;
mod errors;
mod guests;
mod kernels;
mod later;
mod memory;
mod network;
mod streams;
mod terminal;

pub(super) use guests::root;
use tests::{End, Launch};

#[test]
fn the_status_is_the_commands() {
    let done = Launch::exec("echo out; echo err >&2; exit 7").done();
    assert_eq!((done.end, done.stdout.as_slice()), (End::Status(7), &b"out\n"[..]));
    assert_eq!(done.stderr, "err\n");
}

#[test]
fn a_signal_is_128_and_its_number() {
    let done = Launch::exec("kill -9 $$").done();
    assert_eq!((done.end, done.stderr.as_str()), (End::Status(137), ""));
}

#[test]
fn a_command_that_is_not_found_is_127() {
    let done = Launch::exec("/no/such/program").done();
    assert_eq!(done.end, End::Status(127));
    assert!(done.stderr.contains("not found"), "{}", done.stderr);
}

/// A guest that ends before its command is a failure, however it ends.
#[test]
fn a_guest_that_ends_before_its_command_fails() {
    Launch::exec("poweroff -f").done().one_line(1, "switched itself off before the command");
    Launch::exec("reboot -f").done().one_line(1, "before the command had ended");
}

#[test]
fn a_panic_is_101() {
    let done = Launch::exec("echo c > /proc/sysrq-trigger").done();
    assert_eq!(done.end, End::Status(101), "{}", done.stderr);
}

/// A command cannot succeed if the kernel failed under it.
#[test]
fn an_oops_is_103_whatever_the_command_says() {
    let done = Launch::exec("echo '<1>BUG: of a test' > /dev/kmsg; echo well").done();
    assert_eq!(done.end, End::Status(103), "{}", done.stderr);
    assert_eq!(done.stdout, b"well\n");
    assert!(done.stderr.contains("the guest's kernel fails: "), "{}", done.stderr);
    assert!(done.stderr.contains("BUG: of a test"), "{}", done.stderr);
    // A warning only counts with --strict.
    let warning = "echo '<1>WARNING: CPU: 0 PID: 1 at test' > /dev/kmsg; echo well";
    assert_eq!(Launch::exec(warning).done().well(), "well\n");
    assert_eq!(Launch::exec(warning).option("--strict").done().end, End::Status(103));
}

/// The kernel's messages are on hvc0, where `lguest log` finds them.
#[test]
fn kernel_messages_are_on_hvc0() {
    let mut running = Launch::exec(
        "echo UP; read line; dmesg -n 8; echo MARK > /dev/kmsg; echo $line; read line",
    )
    .piped();
    running.expect("UP\n");
    let error = running.lguest(&["peek", &name(&running), "1"]).one_line();
    assert!(error.contains("the command's"), "{error}");
    running.send("go\n");
    running.expect("go\n");
    let log = running.lguest(&["log", &name(&running)]).well();
    assert!(log.contains("MARK"), "{log}");
    let info = running.lguest(&["info", &name(&running), "--json"]).well();
    assert!(info.contains("\"exec\"") && info.contains("rdinit="), "{info}");
    running.lguest(&["stop", &name(&running)]).well();
    assert_eq!(running.wait(), End::Status(1));
    assert!(running.stderr().contains("before the command had ended"), "{}", running.stderr());
}

/// Returns the first MiB of a disk with a DOS partition table: the rest, this number of sectors, is
/// the first partition.
fn partition_table(sectors: u32) -> Vec<u8> {
    const FIRST: u32 = 2048;
    const LINUX: u8 = 0x83;
    let mut bytes = vec![0; 1 << 20];
    bytes[446 + 4] = LINUX;
    bytes[446 + 8..446 + 12].copy_from_slice(&FIRST.to_le_bytes());
    bytes[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

fn name(running: &tests::Running) -> String {
    format!("guest-{}", running.process().0)
}
