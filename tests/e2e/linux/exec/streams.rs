//! Streams are unchanged and separate, and no stream delays another.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use tests::{Chance, End, Launch, until};

/// Returns pseudo-random bytes.
fn noise(length: usize) -> Vec<u8> {
    let mut chance = Chance::new(1);
    (0..length).map(|_| u8::try_from(chance.below(256)).unwrap()).collect()
}

#[test]
fn a_mebibyte_in_and_out() {
    let bytes = noise(1 << 20);
    let done = Launch::exec("tee /dev/fd/3 3> /dev/null | cat").done_with(bytes.clone());
    assert_eq!(done.end, End::Status(0));
    assert!(done.stdout == bytes, "{} bytes came back", done.stdout.len());
}

#[test]
fn stdin_has_an_end() {
    let done = Launch::exec("wc -c; cat; echo END").done_with(noise(1 << 20));
    assert_eq!(done.well(), "1048576\nEND\n");
    // An empty stdin has an end as well.
    let mut running = Launch::exec("wc -c").wired(Stdio::null(), Stdio::piped());
    running.expect("0\n");
    assert_eq!(running.wait(), End::Status(0));
}

/// The output is more than all pipes and windows on the way hold.
#[test]
fn a_command_that_does_not_read_can_print() {
    let command = "head -c 3000000 /dev/zero; sleep 1; head -c 3000000 /dev/zero";
    let done = Launch::exec(command).done_with(noise(2 << 20));
    assert_eq!((done.end, done.stdout.len()), (End::Status(0), 6_000_000));
}

/// Background processes of the command keep its pipes open, and could do so forever.
#[test]
fn grandchildren_are_not_waited_for() {
    let command = "sleep 10000 & (while :; do echo x >&2; done) & printf LAST; exit 4";
    let done = Launch::exec(command).done();
    assert_eq!((done.end, done.stdout.as_slice()), (End::Status(4), &b"LAST"[..]));
}

/// Everything in a pipe when the command ends is still written.
#[test]
fn the_last_output_is_not_lost() {
    let done = Launch::exec("head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2").done();
    assert_eq!(done.stdout.len(), 60_000);
    assert_eq!(done.stderr.len(), 60_000);
}

/// A slow reader loses nothing, however long it takes, and the guest continues.
#[test]
fn a_stopped_reader_delays_the_command_and_not_the_guest() {
    let command =
        "(while sleep 1; do echo alive > /dev/kmsg; done) & dmesg -n 8; head -c 4000000 /dev/zero";
    let (reader, writer) = std::io::pipe().unwrap();
    let mut running = Launch::exec(command).wired(Stdio::null(), writer);
    let name = format!("guest-{}", running.process().0);
    // A console's ring would give up waiting after this time.
    until("the guest has lived on for a while", || {
        let said = running.lguest(&["log", &name]);
        (said.stdout.matches("alive").count() > 8).then_some(())
    });
    let mut output = tests::Transcript::of(reader);
    assert_eq!(running.wait(), End::Status(0), "{}", running.stderr());
    until("the end of the output is read", || output.has_ended().then_some(()));
    assert_eq!(output.unseen().len(), 4_000_000);
    assert!(output.find("x", Duration::ZERO).is_none());
}

#[test]
fn a_stdout_that_is_closed_does_not_end_the_command() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut running =
        Launch::exec("head -c 1000000 /dev/zero; exit 5").wired(Stdio::null(), writer);
    assert_eq!(running.wait(), End::Status(5));
    assert!(running.stderr().contains("writing to stdout: Broken pipe"), "{}", running.stderr());
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut running = Launch::exec("echo x; exit 6").wired(Stdio::null(), full);
    assert_eq!(running.wait(), End::Status(6));
    assert!(running.stderr().contains("No space left"), "{}", running.stderr());
}

/// Without a terminal of its own, ^C is a signal to the launcher.
#[test]
fn a_signal_ends_the_launcher() {
    let mut running = Launch::exec("echo UP; sleep 1000").piped();
    running.expect("UP\n");
    running.process().signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(running.wait(), End::Status(130));
    running.assert_nothing_left();
}
