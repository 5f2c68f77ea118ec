//! Data that the guest had synchronized are there, whenever the launcher is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::environment;

use super::*;

/// Writes without end, from the first moment on: new files with their own number in many lines, and
/// lines to a growing file. After each sync it prints the number. It does not wait for a shell,
/// because most of a round is the guest's boot.
const WRITES: &str = "modprobe -a virtio_blk ext4
    mount -t ext4 /dev/vda /mnt || exit
    n=1
    while :; do
        seq $n 3000 | dd of=/mnt/$round-$n conv=fsync || exit
        echo $round-$n | dd of=/mnt/log oflag=append conv=notrunc,fsync || exit
        echo safe $round-$n.
        n=$((n + 1))
        rm -f /mnt/$round-$((n - 40))
    done 2> /dev/null";

/// Kills a launcher while its guest writes, and returns the numbers that the guest had reported as
/// safe.
fn killed(disk: &Path, round: u32) -> Vec<u32> {
    let scratch = Scratch::new();
    let launch = Launch::job(&format!("round={round}\n{WRITES}"), &scratch);
    let mut running = with_disk(launch, disk, "").piped();
    // A few writes have succeeded; the kill comes somewhere in the next ones.
    running.expect(&format!("safe {round}-{}.", 1 + round % 7));
    std::thread::sleep(Duration::from_millis(u64::from(round * 37 % 200)));
    running.process().signal(Signal::SIGKILL);
    assert_eq!(running.wait(), End::Killed(9));

    tests::until("the end of the output is read", || running.output().has_ended().then_some(()));
    let (said, mark) = (running.text(), format!("safe {round}-"));
    // The last line may be incomplete.
    let number = |line: &str| line.split_once('.')?.0.parse().ok();
    said.split(&mark).skip(1).filter_map(number).collect()
}

/// LGUEST_TEST_KILLS is the number of rounds. Each round continues with the disk of the previous
/// one.
#[test]
fn synced_data_survive_a_killed_launcher() {
    let scratch = Scratch::new();
    let disk = ext4(&scratch, "disk", 128 * MIB, &[]);
    let mut logged = BTreeSet::new();
    for round in 1..=environment::kills() {
        let safe = killed(&disk, round);
        let last = *safe.last().unwrap();
        assert_eq!(safe, (1..=last).collect::<Vec<_>>());
        logged.extend(safe.iter().map(|number| format!("{round}-{number}")));

        assert_clean(&disk);
        // Older files have been removed already.
        for number in last.saturating_sub(15).max(1)..=last {
            let wanted: String = (number..=3000).map(|line| format!("{line}\n")).collect();
            assert!(file_in(&disk, &format!("/{round}-{number}")) == wanted, "{round}-{number}");
        }
        let log: BTreeSet<_> = file_in(&disk, "/log").lines().map(str::to_string).collect();
        let lost: Vec<_> = logged.difference(&log).collect();
        assert!(lost.is_empty(), "{lost:?} are not in the log after round {round}");
    }
}
