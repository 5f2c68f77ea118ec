//! A guest with two CPUs. One of them rewrites what a device reads, while the other keeps the
//! device busy (guest-images/guests/src/modes/hostile/race.rs).

use tests::files::Scratch;
use tests::{Network, environment, patience};

use super::hostile;

/// Queues that answer only when there is input.
const WAITING: [(&str, usize); 3] = [("con", 0), ("net", 0), ("net", 2)];

#[test]
fn memory_that_a_second_cpu_rewrites_is_read_once() {
    let network = Network::new();
    let (scratch, before) = (Scratch::new(), hostile::contents());
    let disk = scratch.file("disk", &before);
    let rounds = environment::races();
    let (launch, devices) =
        hostile::with_devices(&format!("race={rounds}"), &disk, network.as_ref());
    let mut running = launch.option("--cpus=2").argument("stay").piped();
    // The guest only gets this far if its devices work.
    running.expect_within("hello 80x24\n", patience() * 4 + patience() * (rounds / 10));

    let said = running.text();
    for (device, queue) in
        devices.iter().flat_map(|(name, count)| (0..*count).map(move |n| (*name, n)))
    {
        let line = format!("race: {device} queue {queue}: ");
        let (_, rest) = said.split_once(&line).unwrap_or_else(|| panic!("no {line:?} in {said}"));
        let counts = rest.split([' ', '\n']).filter_map(|word| word.parse::<u32>().ok()).take(2);
        let [answered, refused] = counts.collect::<Vec<_>>()[..] else { panic!("{said}") };
        assert!(answered >= rounds, "{line}{answered} answered");
        // If nothing was refused, the device never saw the bad values, and there was no race.
        assert!(refused > 0 || WAITING.contains(&(device, queue)), "{line}no request was refused");
    }
    hostile::power_off(&mut running);
    hostile::assert_only_our_sector_is_written(&disk, &before);
}
