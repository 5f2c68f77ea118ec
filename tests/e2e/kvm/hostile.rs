//! A hostile guest attacks every queue of every device. After each attack the device must work
//! again, and nothing else may have changed. The probe makes the attacks
//! (guest-images/guests/src/modes/hostile.rs).

use std::fs;
use std::path::Path;
use std::time::Instant;

use tests::files::Scratch;
use tests::{End, Held, Launch, Network, Running, patience};

use super::probe;

/// The host's address on the network of the card.
const HOST: &str = "192.168.77.1";

/// The size of the sector that an honest driver writes between the attacks.
const SECTOR: usize = 512;
const OUR_SECTOR: usize = 16;

/// The least number of attacks on any queue.
const LEAST: usize = 60;

/// How many lines may be about something else than a broken device.
const OTHER_LINES: u64 = 10;

/// A megabyte in which all sectors differ.
pub(super) fn contents() -> Vec<u8> {
    (0..1 << 17)
        .flat_map(|word: u64| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

/// Adds a device of every kind that this user may have, and returns the launch and the number of
/// queues.
pub(super) fn with_devices(
    mode: &str,
    disk: &Path,
    network: Option<&Network>,
) -> (Launch, Vec<(&'static str, usize)>) {
    let launch = probe(mode).option("--earlycon").option("--rng").argument(&format!("host={HOST}"));
    let launch = launch.option(&format!("--block={},queues=2", disk.display()));
    // Both launchers use the same directory, one after the other.
    let launch = launch.runtime(disk.parent()).option("--name=guest");
    let mut devices = vec![("con", 2), ("blk", 2), ("rng", 1)];
    if network.is_none() {
        return (launch, devices);
    }
    devices.push(("net", 5));
    (launch.option(&format!("--tunnet={HOST},queues=2")), devices)
}

pub(super) fn power_off(running: &mut Running) {
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
}

#[track_caller]
pub(super) fn assert_only_our_sector_is_written(disk: &Path, before: &[u8]) {
    let after = fs::read(disk).unwrap();
    assert_eq!(after.len(), before.len());
    let sectors = before.chunks(SECTOR).zip(after.chunks(SECTOR)).enumerate();
    let changed: Vec<_> = sectors.filter(|(_, (was, is))| was != is).map(|(at, _)| at).collect();
    assert_eq!(changed, [OUR_SECTOR]);
}

#[test]
fn every_attack_on_every_queue_is_survived() {
    let network = Network::new();
    let (scratch, before) = (Scratch::new(), contents());
    let disk = scratch.file("disk", &before);

    // The honest launcher shows what a launcher holds whose guest only uses the console.
    let mut honest = with_devices("console", &disk, network.as_ref()).0.piped();
    honest.expect("hello 80x24\n");
    let process = honest.process();
    let (expected, memory) = (Held::at_rest(process), process.memory_beyond_guest());
    power_off(&mut honest);

    let (launch, devices) = with_devices("hostile", &disk, network.as_ref());
    let begin = Instant::now();
    let mut running = launch.argument("stay").piped();
    running.expect_within("hello 80x24\n", patience() * 12);

    let said = running.text();
    let kinds = devices.len();
    for (device, queues) in devices {
        let hows = ["", " with the event index"];
        for (queue, how) in (0..queues).flat_map(|queue| hows.map(|how| (queue, how))) {
            let line = format!("hostile: {device} queue {queue}{how}: ");
            let count = said.split_once(&line).and_then(|(_, rest)| rest.split(' ').next());
            let count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
            assert!(count >= LEAST, "{line}{count} attacks");
        }
    }

    let process = running.process();
    expected.assert_again(process);
    let grown = process.memory_beyond_guest().saturating_sub(memory);
    assert!(grown < 1024, "{grown} KiB more than with another guest");
    power_off(&mut running);

    let errors = running.stderr();
    assert!(errors.contains("the guest broke the protocol"), "{errors}");
    // More than one line per second about each device would be a flood.
    let most = OTHER_LINES + u64::try_from(kinds).unwrap() * (begin.elapsed().as_secs() + 1);
    let lines = u64::try_from(errors.lines().count()).unwrap();
    assert!(lines <= most, "{lines} lines, {most} at most:\n{errors}");

    assert_only_our_sector_is_written(&disk, &before);
}

/// The exit status is the guest's verdict.
#[test]
fn one_attack_can_be_chosen_by_name() {
    let scratch = Scratch::new();
    let disk = scratch.file("disk", contents());
    let mut running = with_devices("hostile=loop-of-two", &disk, None).0.piped();
    assert_eq!(running.wait(), End::Status(0));
    assert!(running.text().contains("all well after 10 attacks"), "{}", running.text());
    let mut running = with_devices("hostile=nonsense", &disk, None).0.piped();
    assert_eq!(running.wait(), End::Status(98));
}
