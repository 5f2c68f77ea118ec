//! Guests that do not end in time, and what lguest reports about them.

use std::fs::File;

use tests::files::Scratch;
use tests::{End, HangingDisk, Launch, is_root};

use super::super::probe;
use super::said;

/// The timeouts that are tried in turn, in seconds. A busy machine may need longer until the guest
/// hangs where it should.
const TIMES: [u32; 4] = [1, 5, 25, 125];

/// Returns what lguest prints when the guest hangs for this long.
#[track_caller]
fn late_after(seconds: u32, launch: &Launch) -> Vec<String> {
    let (status, words) = said(&launch.clone().option(&format!("--timeout={seconds}s")), "");
    assert_eq!(status, 124, "{words}");
    words.lines().map(str::to_string).collect()
}

/// Returns what lguest prints once `there` finds that the guest hangs where it should.
#[track_caller]
fn late(launch: &Launch, there: impl Fn(&[String]) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    for seconds in TIMES {
        lines = late_after(seconds, launch);
        if there(&lines) {
            break;
        }
    }
    lines
}

/// Whether a line contains these words.
fn has(words: &str) -> impl Fn(&[String]) -> bool {
    move |lines| lines.iter().any(|line| line.contains(words))
}

/// The probe is an ELF file with symbols, so no symbols file is needed.
#[test]
fn a_timeout_reports_the_function_of_each_cpu() {
    for (mode, doing, function) in [
        ("hang=spin", "running, in user mode, interrupts off", "endings"),
        ("hang=halt", "halted, interrupts off", "(halt_forever+0x"),
        ("noconsole", "halted, interrupts on", "(halt_unless_new+0x"),
    ] {
        let lines = late(&probe(mode).option("--cpus=2"), has(function));
        assert_eq!(lines.len(), 4, "{lines:?}");
        let first = lines[0].strip_prefix("lguest: not over within ").unwrap();
        assert!(first.ends_with("s, which was its --timeout"), "{first}");
        let place = format!("lguest: vcpu0: {doing}, at rip 0x");
        assert!(lines[1].starts_with(&place) && lines[1].contains(function), "{}", lines[1]);
        assert_eq!(lines[2], "lguest: vcpu1: not started");
        assert!(lines[3].contains("no driver for its console"), "{}", lines[3]);
    }
}

#[test]
fn a_timeout_names_the_pattern_that_is_missing() {
    let (status, words) =
        said(&probe("hang=halt").option("--timeout=500ms").option("--expect=login: "), "");
    assert_eq!(status, 124, "{words}");
    assert_eq!(words.lines().next(), Some("lguest: not seen within 500ms: \"login: \""));
}

#[test]
fn function_names_can_come_from_a_symbols_file() {
    let scratch = Scratch::new();
    let list = "0000000000000000 A data\n0000000000100000 T a_name\nffffffff81000000 T _text\n";
    let option = format!("--symbols={}", scratch.file("System.map", list).display());
    let lines = late(&probe("hang=halt").option(&option), has("(a_name+0x"));
    assert!(lines[1].contains("(a_name+0x"), "{}", lines[1]);
}

/// This kernel has no symbols.
#[test]
fn without_symbols_lguest_says_how_to_get_names() {
    let scratch = Scratch::new();
    let kernel = scratch.file("kernel", tests::kernel::halted());
    let lines = late(&Launch::kernel(kernel).memory("64"), has("vcpu0: halted, interrupts off"));
    assert!(
        lines[1].starts_with("lguest: vcpu0: halted, interrupts off, at rip 0x10"),
        "{lines:?}"
    );
    assert!(lines[2].starts_with("lguest: --symbols FILE names the functions"), "{lines:?}");
}

#[test]
fn a_guest_that_reboots_for_ever_is_ended() {
    let lines = late(&probe("reset=acpi"), has("the guest restarts, and its messages are lost"));
    assert!(has("not over within ")(&lines), "{lines:?}");
}

/// The kernel file cannot be opened after the chroot.
#[test]
fn function_names_work_after_a_chroot() {
    if !is_root("--chroot") {
        return;
    }
    let scratch = Scratch::new();
    let root = format!("--chroot={}", scratch.path().display());
    let launch = probe("hang=halt").option(&root).option("--username=nobody");
    let lines = late(&launch, has("(halt_forever+0x"));
    assert!(lines[1].contains("(halt_forever+0x"), "{lines:?}");
}

#[test]
fn a_paused_guest_is_ended_in_time() {
    // The timeout leaves time to pause the guest.
    let launch = probe("console").option("--timeout=20s").option("--name=one");
    let mut running = launch.piped();
    running.expect("hello");
    running.lguest(&["pause", "one"]).well();
    assert_eq!(running.wait(), End::Status(124));
    assert!(running.stderr().contains("vcpu0: running, in user mode"), "{}", running.stderr());
}

/// A disk that hangs blocks a vCPU that clears its bus master bit, and the threads of a guest that
/// restarts.
#[test]
fn a_thread_stuck_in_a_host_call_is_reported() {
    let hangs = "lguest: vcpu0: in a system call of the host's that hangs";
    let mut lines = Vec::new();
    for seconds in TIMES {
        // Each try needs another disk, because a file whose first read is pending cannot be opened.
        let scratch = Scratch::new();
        let Some(disk) = HangingDisk::new(scratch.path(), 1 << 20) else { return };
        disk.hang();
        // Without format=raw, lguest would read the first bytes before the guest starts.
        let block = format!("--block={},format=raw", disk.path().display());
        lines = late_after(seconds, &probe("busless").option("--earlycon").option(&block));
        if lines.iter().any(|line| line == hangs) {
            return;
        }
    }
    panic!("{lines:?}");
}

/// lguest does not wait for a reader that does not read stdout, and reports that.
#[test]
fn a_stopped_reader_does_not_delay_the_timeout() {
    let scratch = Scratch::new();
    let input = File::open(scratch.file("input", "\x1ef 500\n")).unwrap();
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let mut running = probe("console").option("--timeout=2s").wired(input, writer);
    assert_eq!(running.wait(), End::Status(124));
    assert!(running.stderr().contains("nobody read stdout"), "{}", running.stderr());
    drop(reader);
}

#[test]
fn a_timeout_prints_the_last_lines_of_a_console_elsewhere() {
    let launch = probe("consoles").option("--console=null").option("--expect=never");
    let lines = late(&launch, has("lguest:   hello 0"));
    let last = lines.iter().position(|line| line == "lguest: the guest said last:").unwrap();
    assert_eq!(lines[last + 1], "lguest:   hello 0");
}
