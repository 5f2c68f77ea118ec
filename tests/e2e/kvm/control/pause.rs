//! A paused guest does nothing, and can be resumed and ended.

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, HangingDisk, Running, until};

use super::{hello, json, named, probe, state};

/// Long enough to notice a CPU that works.
const LOOK: Duration = Duration::from_millis(400);

fn ticks(running: &Running, thread: &str) -> u64 {
    running.process().thread(thread).unwrap().ticks()
}

/// Asserts that the vCPU uses CPU time.
fn assert_works(running: &Running) {
    let before = ticks(running, "vcpu0");
    until("the guest works", || (ticks(running, "vcpu0") > before + 5).then_some(()));
}

/// Asserts that the vCPU uses no CPU time.
fn assert_still(running: &Running) {
    let before = ticks(running, "vcpu0");
    // This is a fixed time, because there is no event to wait for: the guest must do nothing.
    sleep(LOOK);
    assert_eq!(ticks(running, "vcpu0"), before);
    assert!(running.process().thread("vcpu0").unwrap().sleeps());
}

#[test]
fn a_paused_guest_uses_no_cpu_and_can_be_resumed() {
    let mut running = probe("hang=spin").option("--name=one").option("--cpus=3").on_terminal();
    until("the vCPU runs", || running.process().thread("vcpu0").map(drop));
    for _ in 0..3 {
        assert_works(&running);
        for _ in 0..2 {
            running.lguest(&["pause", "one"]).well();
            assert_eq!(state(&running), "paused");
            assert_still(&running);
        }
        for _ in 0..2 {
            running.lguest(&["resume", "one"]).well();
            assert_eq!(state(&running), "running");
        }
    }
    assert_works(&running);
    running.lguest(&["stop", "one"]).well();
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn keys_typed_during_a_pause_arrive_after_it() {
    let mut running = named().on_terminal();
    hello(&mut running);
    running.lguest(&["pause", "one"]).well();
    let before = running.text().len();
    running.send("typed meanwhile");
    assert_still(&running);
    assert_eq!(running.text().len(), before, "a paused guest echoed");
    running.lguest(&["resume", "one"]).well();
    running.expect("typed meanwhile");
}

/// The device takes no input, so all of it can be seen and counted.
#[test]
fn input_of_a_paused_guest_can_be_peeked_at_and_is_read_once() {
    const MUCH: usize = 20_000;
    let mut running = named().on_terminal();
    hello(&mut running);
    running.send("its input is open");
    running.expect("its input is open");
    running.lguest(&["pause", "one"]).well();

    running.lguest(&["send", "one", "0", "echo hi\n"]).well();
    for _ in 0..2 {
        assert_eq!(running.lguest(&["peek", "one", "--input"]).well(), "echo hi\n");
    }
    running.lguest(&["send", "one", "0", &"z".repeat(MUCH)]).well();
    let counts = json(&running, &["peek", "one", "--input", "--json"]);
    assert_eq!(counts["unread"], 8 + MUCH, "{counts}");

    running.lguest(&["resume", "one"]).well();
    assert_eq!(running.expect(&"z".repeat(MUCH)).matches("echo hi").count(), 1);
    assert_eq!(running.lguest(&["peek", "one", "--input"]).well(), "");
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    assert_eq!(running.text().matches('z').count(), MUCH);
}

/// A disk that hangs blocks a vCPU that clears its bus master bit. It must not block anything else.
#[test]
fn a_guest_with_a_vcpu_that_cannot_stop_can_be_ended() {
    let scratch = Scratch::new();
    let Some(disk) = HangingDisk::new(scratch.path(), 1 << 20) else { return };
    disk.hang();
    // Without format=raw, lguest would read the first bytes before the guest starts.
    let block = format!("--block={},format=raw", disk.path().display());
    let launch = probe("busless").option("--name=one").option("--earlycon");
    let mut running = launch.option(&block).piped();
    running.expect("the disk does not answer");
    // A moment before, only the disk's thread hangs.
    until("the vCPU waits for the disk", || {
        let line = running.lguest(&["pause", "one"]).one_line();
        line.ends_with(": vcpu0: in a system call of the host's that hangs\n").then_some(())
    });
    running.lguest(&["resume", "one"]).well();
    assert_eq!(state(&running), "running");
    running.lguest(&["stop", "one"]).well();
    assert_eq!(running.wait(), End::Status(0));
}

/// The devices of a paused guest have no threads.
#[test]
fn the_devices_of_a_paused_guest_do_nothing() {
    let mut running = named().option("--rng").on_terminal();
    hello(&mut running);
    let queues = |running: &Running| {
        let names = ["con0-rx", "con0-tx"].into_iter();
        names.filter(|name| running.process().thread(name).is_some()).collect::<Vec<_>>()
    };
    until("the queue threads have their names", || (queues(&running).len() == 2).then_some(()));
    for _ in 0..20 {
        running.lguest(&["pause", "one"]).well();
        until("the queue threads are gone", || queues(&running).is_empty().then_some(()));
        running.lguest(&["resume", "one"]).well();
        until("the queue threads are back", || (queues(&running).len() == 2).then_some(()));
        running.send("still here");
        running.expect("still here");
    }
}

#[test]
fn a_pause_loses_no_output() {
    const KIB: usize = 20_000;
    let mut running = named().piped();
    running.expect("hello 80x24\n");
    let before = running.output().len();
    running.send(format!("\x1ef {KIB}\n"));
    for part in 1..4 {
        // Early, so that most of the flood is still to come however late the pause is.
        let goal = before + part * 1024 * KIB / 64;
        until("the guest prints", || (running.output().len() > goal).then_some(()));
        running.lguest(&["pause", "one"]).well();
        assert_still(&running);
        let length = running.output().len();
        assert!(length < before + KIB * 1024, "too quick to be stopped");
        assert_still(&running);
        assert_eq!(running.output().len(), length, "a paused guest printed");
        running.lguest(&["resume", "one"]).well();
    }
    until("the guest has printed everything", || {
        (running.output().len() >= before + KIB * 1024).then_some(())
    });
    let output = running.output().bytes();
    for (number, line) in output[before..].chunks(64).enumerate() {
        assert!(line.starts_with(format!("{number:08} ").as_bytes()), "line {number}");
    }
}

#[test]
fn a_paused_guest_stays_paused_over_a_reset() {
    let mut running = named().on_terminal();
    hello(&mut running);
    running.lguest(&["pause", "one"]).well();
    let before = running.text().len();
    let thread = |running: &Running| running.process().thread("vcpu0").map(|thread| thread.id);
    let old = thread(&running);
    running.lguest(&["reset", "one"]).well();
    until("the next guest exists", || thread(&running).filter(|id| Some(*id) != old));
    assert_still(&running);
    assert_eq!(state(&running), "paused");
    assert_eq!(running.text().len(), before);
    running.lguest(&["resume", "one"]).well();
    hello(&mut running);
}

#[test]
fn a_paused_guest_can_be_ended() {
    type Way = (&'static str, fn(&mut Running), i32);
    let ways: [Way; 4] = [
        ("stop", |running| drop(running.lguest(&["stop", "one"]).well()), 0),
        ("kill", |running| drop(running.lguest(&["kill", "one"]).well()), 137),
        ("^C", Running::press_three_ctrl_c, 130),
        ("SIGTERM", |running| running.process().signal(Signal::SIGTERM), 143),
    ];
    for (name, act, status) in ways {
        let mut running = named().option("--cpus=2").on_terminal();
        hello(&mut running);
        running.lguest(&["pause", "one"]).well();
        act(&mut running);
        assert_eq!(running.wait(), End::Status(status), "{name}");
        // Exactly one line means that every vCPU ended in time.
        assert_eq!(running.stderr().lines().count(), 1, "{name}: {}", running.stderr());
        running.assert_terminal_restored();
        running.assert_nothing_left();
    }
}
