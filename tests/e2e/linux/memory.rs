//! The guest has the requested memory, on both sides of the hole below 4 GiB.

use tests::{Guest, Launch};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The memory below 1 MiB that the firmware of a PC keeps.
const LEGACY_HOLE: u64 = MIB;

fn boot(memory: u64) -> Guest {
    let launch = Launch::linux().memory(&(memory / MIB).to_string());
    let mut guest = Guest::of(launch.on_terminal());
    let ram: u64 = ram_of(&mut guest).iter().map(|(start, end)| end - start).sum();
    assert!((memory - LEGACY_HOLE..=memory).contains(&ram), "{ram:#x} of {memory:#x}");
    let total = number(&guest.run("awk '/^MemTotal/ { print $2 }' /proc/meminfo")) << 10;
    // Linux uses 1/64 for its list of pages, and some for itself.
    assert!((memory / 100 * 96 - 48 * MIB..memory).contains(&total), "{total:#x} of {memory:#x}");
    guest
}

/// Returns the ranges of memory in the guest's map.
fn ram_of(guest: &mut Guest) -> Vec<(u64, u64)> {
    let ranges = guest.run("sed -n 's/ : System RAM$//p' /proc/iomem");
    let hex = |text: &str| u64::from_str_radix(text.trim(), 16).unwrap();
    let range = |line: &str| line.split_once('-').map(|(start, end)| (hex(start), hex(end) + 1));
    ranges.lines().map(|line| range(line).unwrap()).collect()
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}

/// Returns how many bytes are free above 4 GiB.
fn free_above_the_hole(guest: &mut Guest) -> u64 {
    let script =
        "awk '$3 == \"zone\" { zone = $4 } $1 == \"pages\" && zone == \"Normal\" { print $3 }'";
    number(&guest.run(&format!("{script} /proc/zoneinfo"))) * 4096
}

/// Fills some memory, which Linux takes from above the hole, and checks that it does not change.
fn use_memory_above_the_hole(guest: &mut Guest) {
    let text = "yes 'all work and no play' | head -c 33554432";
    let before = free_above_the_hole(guest);
    guest.run(&format!("{text} > /tmp/text"));
    let taken = before.saturating_sub(free_above_the_hole(guest));
    assert!(taken > 24 * MIB, "only {taken:#x} bytes were taken above the hole");
    guest.run(&format!("{text} | cmp - /tmp/text"));
}

#[test]
fn half_a_gigabyte_is_all_there() {
    boot(512 * MIB);
}

#[test]
fn three_gigabytes_end_below_the_hole() {
    let mut guest = boot(3 * GIB);
    assert!(ram_of(&mut guest).iter().all(|&(_, end)| end <= 4 * GIB));
}

#[test]
fn four_gigabytes_continue_above_the_hole() {
    let mut guest = boot(4 * GIB);
    assert!(ram_of(&mut guest).iter().any(|&(start, _)| start == 4 * GIB));
    use_memory_above_the_hole(&mut guest);
}

#[test]
fn six_gigabytes_continue_above_the_hole() {
    let mut guest = boot(6 * GIB);
    assert!(ram_of(&mut guest).iter().any(|&(start, end)| start == 4 * GIB && end > 6 * GIB));
    use_memory_above_the_hole(&mut guest);
}
