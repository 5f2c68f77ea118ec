//! Unread output, notifications without requests, and devices that break, in large numbers. The
//! test watches the launcher's memory and log.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Network, Process, Running, patience, until, within};

use super::{hostile, probe};

/// The command for a gigabyte of output, in KiB.
const GIGABYTE: &str = "\u{1e}f 1048576\n";
const BYTES: u64 = 1 << 30;

/// The first line of the guest.
const HELLO: &str = "hello 80x24\n";

/// The beginning of the last line of that output.
const LAST_LINE: &str = "16777215 ";

/// The most memory in KiB for the buffer of a console (1 MiB) and the clients that read it.
const MOST_GROWTH: u64 = 4 * 1024;

/// The number of notifications to each queue, before its device is live and afterwards.
const KICKS: u64 = 20_000;

/// The number of network cards whose interfaces are deleted.
const CARDS: usize = 6;

/// Returns the largest growth of the process' private memory until `done`, in KiB.
#[track_caller]
fn most_growth(process: Process, mut done: impl FnMut() -> bool) -> u64 {
    let before = process.memory_beyond_guest();
    let mut most = before;
    let ended = within(patience() * 8, || {
        most = most.max(process.memory_beyond_guest());
        done().then_some(())
    });
    assert!(ended.is_some(), "the flood does not end");
    most - before
}

/// Returns a number in JSON output.
#[track_caller]
fn number(json: &str, name: &str) -> u64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap();
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

#[test]
fn a_gigabyte_of_unread_output_costs_a_few_megabytes() {
    let launch = probe("console").option("--name=one").option("--console=sock");
    let mut running = launch.argument("event_idx").piped();
    let log = |running: &Running| running.lguest(&["log", "one"]);
    until("the guest has printed", || (log(&running).stdout == HELLO).then_some(()));

    running.lguest(&["send", "one", "0", GIGABYTE]).well();
    let printed = || {
        let counts = running.lguest(&["peek", "one", "--json"]).well();
        number(&counts, "dropped") + number(&counts, "unread")
    };
    let all = BYTES + HELLO.len() as u64;
    let grown = most_growth(running.process(), || printed() == all);
    assert!(grown < MOST_GROWTH, "{grown} KiB more than before");
    assert!(log(&running).well().contains(LAST_LINE));

    running.lguest(&["send", "one", "0", "over here"]).well();
    until("the guest prints again", || log(&running).well().ends_with("over here").then_some(()));
    running.lguest(&["stop", "one"]).well();
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn a_gigabyte_for_a_stopped_reader_costs_a_few_megabytes() {
    let (mut reader, stdout) = io::pipe().unwrap();
    let launch = probe("console").argument("event_idx");
    let mut running = launch.wired(Stdio::piped(), OwnedFd::from(stdout));
    let mut hello = [0; HELLO.len()];
    reader.read_exact(&mut hello).unwrap();
    assert_eq!(hello, HELLO.as_bytes());

    // Nobody reads from here on. The guest waits for the reader a while, and then no longer.
    running.send(format!("{GIGABYTE}\u{1e}p"));
    let process = running.process();
    let grown = most_growth(process, || process.thread("vcpu0").is_none());
    assert!(grown < MOST_GROWTH, "{grown} KiB more than before");

    // The output is what the guest printed, except for the bytes that are reported as lost.
    let mut rest = Vec::new();
    File::from(OwnedFd::from(reader)).read_to_end(&mut rest).unwrap();
    assert_eq!(running.wait(), End::Status(0));
    let said = running.stderr();
    let lost = said.split_whitespace().find_map(|word| word.parse::<u64>().ok());
    assert!(said.contains("lost") && said.lines().count() == 1, "{said}");
    assert_eq!(lost.map(|lost| lost + rest.len() as u64), Some(BYTES), "{said}");
}

#[test]
fn notifications_of_nothing_cost_no_memory() {
    let network = Network::new();
    let scratch = Scratch::new();
    let disk = scratch.file("disk", vec![0; 1 << 20]);
    let (launch, devices) =
        hostile::with_devices(&format!("kicks={KICKS}"), &disk, network.as_ref());
    let queues: usize = devices.iter().map(|(_, count)| count).sum();
    let mut running = launch.argument("stay").piped();
    running.expect(&format!("kicks: {queues} queues ...\n"));
    let process = running.process();
    let grown = most_growth(process, || running.text().ends_with(HELLO));
    assert!(grown < 1024, "{grown} KiB more than before");
    assert!(running.text().contains(&format!("kicks: {KICKS} of each, twice")));
    hostile::power_off(&mut running);
    assert_eq!(running.stderr(), "");
}

#[test]
fn messages_about_the_host_are_printed_during_a_flood_of_guest_errors() {
    let Some(network) = Network::new() else { return };
    let launch = (0..40).fold(probe("breakdowns"), |launch, _| launch.option("--console=null"));
    let launch = (0..CARDS)
        .fold(launch, |launch, card| launch.option(&format!("--tunnet=192.168.{card}.1")));
    let mut running = launch.piped();
    running.expect_stderr("the guest broke the protocol");
    for card in 0..CARDS {
        network.ip(&format!("link del lg{card}"));
        running.expect_stderr(&format!("lg{card} was deleted: the guest's link is down"));
    }
    running.process().signal(Signal::SIGTERM);
    assert_eq!(running.wait(), End::Status(143));
}
