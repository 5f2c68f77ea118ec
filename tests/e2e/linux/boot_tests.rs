//! Boot tests of Linux: a prompt, a panic with and without the driver that reports it, warnings,
//! and a guest that hangs.

use std::fs::{self, File};

use tests::files::Scratch;
use tests::{End, Launch, Running};

/// Launches a guest that runs this script, with the drivers of its console only.
fn job(script: &str, scratch: &Scratch) -> Launch {
    Launch::job(script, scratch).option(&format!("--log={}", scratch.path().join("log").display()))
}

fn log(scratch: &Scratch) -> String {
    fs::read_to_string(scratch.path().join("log")).unwrap()
}

#[track_caller]
fn run(launch: &Launch) -> (End, Running) {
    let mut running = launch.fed("");
    (running.wait(), running)
}

/// A prompt does not end its line, and the shell asks the terminal for the cursor's position.
#[test]
fn a_prompt_matches_without_a_newline() {
    let scratch = Scratch::new();
    let xml = format!("--junit={}", scratch.path().join("xml").display());
    let launch = Launch::linux().option("--expect=This is busybox").option("--expect=^guest# $");
    let (end, running) = run(&launch.option(&xml));
    let words = running.stderr();
    assert_eq!(end, End::Status(0), "{words}");
    assert!(words.starts_with("lguest: seen after ") && words.ends_with(": guest#\n"), "{words}");
    let xml = fs::read_to_string(scratch.path().join("xml")).unwrap();
    assert!(xml.contains("This is busybox") && xml.contains("failures=\"0\""), "{xml}");
}

const CRASH: &str = "echo c > /proc/sysrq-trigger";

/// The panic is recognized whether the kernel would then hang or reboot.
#[test]
fn a_panic_is_recognized_without_the_pvpanic_driver() {
    for argument in ["panic=0", "panic=1", "panic=-1"] {
        let scratch = Scratch::new();
        let launch = job(CRASH, &scratch).argument(argument).option("--expect=never");
        let (end, running) = run(&launch);
        let words = running.stderr();
        assert_eq!(end, End::Status(101), "{argument}: {words}");
        let panic = "Kernel panic - not syncing: sysrq triggered crash\n";
        assert!(words.starts_with("lguest: guest panicked: ") && words.ends_with(panic), "{words}");
        let log = log(&scratch);
        assert!(log.contains("Call Trace:"), "{argument}: {log}");
        assert_eq!(
            log.contains("---[ end Kernel panic"),
            argument == "panic=0",
            "{argument}: {log}"
        );
    }
}

#[test]
fn a_panic_is_reported_by_the_pvpanic_driver() {
    let launch = Launch::linux().argument("panic=-1").option("--console=sock");
    for option in ["--strict", "--verbose"] {
        let mut running = launch.clone().option(option).option("--name=one").piped();
        tests::until("the shell prompts", || {
            running.lguest(&["log", "one"]).stdout.contains("guest# ").then_some(())
        });
        running.lguest(&["send", "one", "0", &format!("{CRASH}\n")]).well();
        assert_eq!(running.wait(), End::Status(101), "{option}");
        // Nobody sees the console, so its last lines are printed.
        let words = running.stderr();
        for part in ["the guest said last", "RIP: "] {
            assert!(words.contains(part), "no {part:?}: {words}");
        }
        let last = words.lines().last().unwrap();
        let panic = "Kernel panic - not syncing: sysrq triggered crash";
        assert!(last.starts_with("lguest: guest panicked: [") && last.ends_with(panic), "{last}");
    }
}

#[test]
fn without_a_boot_test_and_the_driver_a_panic_is_not_recognized() {
    let scratch = Scratch::new();
    let launch = job(CRASH, &scratch).argument("panic=-1").option("--no-reboot");
    let (end, running) = run(&launch);
    assert_eq!(end, End::Status(0));
    assert!(running.stderr().contains("guest reset by "), "{}", running.stderr());
}

/// "quiet" would hide the warning.
#[test]
fn strict_fails_on_a_kernel_warning() {
    let script = "echo '<4>WARNING: CPU: 0 PID: 1 at kernel/foo.c:1 f+0x1/0x2' > /dev/kmsg";
    let scratch = Scratch::new();
    let (end, running) = run(&job(script, &scratch).option("--strict"));
    assert_eq!(end, End::Status(103), "{}", log(&scratch));
    let words = "lguest: the guest's kernel fails: [";
    assert!(running.stderr().starts_with(words), "{}", running.stderr());
    let (end, _) = run(&job(script, &scratch).option("--expect=^never|$"));
    assert_eq!(end, End::Status(0));
    assert!(log(&scratch).contains("WARNING"), "a pattern cannot match what is not printed");
}

/// The kernel's function names come from the guest's own list, which is copied through a disk
/// because a console would be slow.
#[test]
fn a_timeout_reports_the_function_of_a_hanging_guest() {
    let scratch = Scratch::new();
    let symbols = scratch.file("symbols", []);
    File::options().write(true).open(&symbols).unwrap().set_len(32 << 20).unwrap();
    let disk = format!("--block={}", symbols.display());
    let list = "modprobe virtio_blk
        until [ -b /dev/vda ]; do sleep 0.1; done
        cat /proc/kallsyms > /dev/vda; sync";
    let (end, running) = run(&job(list, &scratch).option(&disk));
    assert_eq!(end, End::Status(0), "{}", running.stderr());

    let launch = job("echo asleep; sleep 10000", &scratch).option("--timeout=60s");
    let (end, running) = run(&launch.option(&format!("--symbols={}", symbols.display())));
    assert_eq!(end, End::Status(124));
    assert!(log(&scratch).contains("asleep"), "60 s were not enough to come that far");
    let words = running.stderr();
    let cpu = words.lines().find(|line| line.starts_with("lguest: vcpu0: halted, interrupts "));
    let cpu = cpu.unwrap_or_else(|| panic!("{words}"));
    assert!(cpu.contains("idle") || cpu.contains("halt+0x"), "{words}");
    assert!(cpu.contains("at rip 0xffffffff8"), "{words}");
}
