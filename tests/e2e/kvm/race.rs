//! A guest with two CPUs, of which one writes what a device reads or must not be told any
//! more, while the other has the device work (guest-images/guests/src/modes/hostile/race.rs).

use tests::files::Scratch;
use tests::{Network, environment, patience};

use super::hostile;

/// Queues that answer when somebody else has something for them.
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
    // The guest's verdict: it does not come as far as this with a device that is not well.
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
        // Else it was no race: the bad values were never seen.
        assert!(refused > 0 || WAITING.contains(&(device, queue)), "{line}none refused");
    }
    hostile::power_off(&mut running);
    hostile::assert_only_our_sector_is_written(&disk, &before);
}
