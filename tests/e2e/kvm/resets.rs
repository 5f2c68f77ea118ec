//! Many resets of the machine and of its devices leak nothing.

use std::path::Path;

use tests::files::Scratch;
use tests::{End, Flood, Held, Network, Process, Running, environment, patience, until};

use super::{hostile, probe};

/// This many rounds show a leak of one descriptor or thread.
const ROUNDS: usize = 200;

fn reboot(running: &mut Running) {
    running.send([0x1e, b'r']);
    running.expect("hello 100x30");
}

/// Returns the numbers of descriptors and threads, after a moment for threads that are ending.
fn held(process: Process) -> (usize, usize) {
    (process.descriptors().len(), process.threads().len())
}

#[test]
fn two_hundred_reboots_leak_nothing() {
    let mut running = probe("console").on_terminal();
    running.expect("hello 100x30");
    reboot(&mut running);
    let process = running.process();
    let (before, memory, started) =
        (held(process), process.memory_beyond_guest(), process.start_time());
    for _ in 0..ROUNDS {
        reboot(&mut running);
        assert!(running.pty().snapshot().is_raw());
    }
    until("descriptors and threads are as before", || (held(process) == before).then_some(()));
    assert_eq!(process.start_time(), started);
    let grown = process.memory_beyond_guest().saturating_sub(memory);
    assert!(grown < 1024, "{grown} KiB more than before");
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    running.assert_terminal_restored();
    running.assert_nothing_left();
}

#[test]
fn three_hundred_device_resets_succeed() {
    let mut running = probe("resets=300").piped();
    assert_eq!(running.wait(), End::Status(0));
}

/// Starts a guest that resets each of its devices `lives` times while all queues are busy, and then
/// uses its console.
fn stormed(lives: usize, disk: &Path, network: Option<&Network>) -> Running {
    let launch = hostile::with_devices(&format!("storm={lives}"), disk, network).0.argument("stay");
    let mut running = launch.piped();
    // Input and frames for the queues that wait for some.
    running.send_beside(vec![b'x'; 1 << 16]);
    let flood = network.map(|network| {
        network.wait_for("lg0", true);
        Flood::start("192.168.77.255")
    });
    running.expect_within("hello 80x24\n", patience() * 12);
    if let Some(flood) = flood {
        assert!(flood.stop() > 0);
    }
    let said = running.text();
    for device in ["con", "blk", "rng", "net"].iter().take(3 + usize::from(network.is_some())) {
        let line = format!("storm: {device}: {lives} lives, ");
        let (_, rest) = said.split_once(&line).unwrap_or_else(|| panic!("no {line:?} in {said}"));
        let counts = rest.split([' ', '\n']).filter_map(|word| word.parse::<usize>().ok()).take(2);
        let [requests, interrupts] = counts.collect::<Vec<_>>()[..] else { panic!("{said}") };
        // How many of them a life has depends on the machine's load.
        assert!(requests > 0 && interrupts > 0, "{device} was idle: {said}");
    }
    running
}

/// There are four devices with LGUEST_TEST_RESETS resets each. The guest checks that a device does
/// nothing after its reset; the test checks descriptors and threads of the launcher.
#[test]
fn ten_thousand_resets_of_busy_devices_leak_nothing() {
    let network = Network::new();
    let scratch = Scratch::new();
    let disk = scratch.file("disk", vec![0; 1 << 20]);

    let mut few = stormed(100, &disk, network.as_ref());
    let process = few.process();
    let (expected, memory) = (Held::at_rest(process), process.memory_beyond_guest());
    hostile::power_off(&mut few);

    let mut many = stormed(environment::resets(), &disk, network.as_ref());
    let process = many.process();
    expected.assert_again(process);
    let grown = process.memory_beyond_guest().saturating_sub(memory);
    assert!(grown < 1024, "{grown} KiB more than after few");
    hostile::power_off(&mut many);
    assert_eq!(many.stderr(), "");
}
