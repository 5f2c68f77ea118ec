//! `memory` prints the memory map, and checks that RAM is where the map says: the first and the
//! last page of every range keep what is written into them.

use super::Task;
use crate::boot_params::{RAM, Range};
use crate::memory::Region;
use crate::paging;

const PAGE: u64 = 4096;

/// The mode `memory`.
pub(super) fn walk(task: &Task<'_>) {
    let mut ram = 0;
    for range in task.boot_params.memory_map() {
        let last = range.start.wrapping_add(range.length).wrapping_sub(1);
        report!("memory {:#x}-{last:#x} type {}", range.start, range.kind);
        if range.kind == RAM && range.length >= PAGE {
            ram += range.length;
            touch(range.start.next_multiple_of(PAGE));
            touch((range.start + range.length) / PAGE * PAGE - PAGE);
        }
    }
    // RAM must not continue after the last range of the map.
    if let Some(range) = task.boot_params.memory_map().last() {
        report_hole(range);
    }
    report!("ram {} KiB", ram >> 10);
}

/// Writes to the first and the last word of a page, and restores both.
fn touch(page: u64) {
    let Some(memory) = Region::outside(page, PAGE) else {
        report!("  {page:#x} is the guest's own");
        return;
    };
    paging::map(page);
    for at in [0, PAGE - 8] {
        let before: u64 = memory.read(at);
        memory.write(at, !before);
        let after: u64 = memory.read(at);
        memory.write(at, before);
        if after != !before {
            fail!("probe: {:#x} is not RAM: {after:#x} instead of {:#x}", page + at, !before);
        }
    }
    report!("  {page:#x} touched");
}

/// Checks that nothing answers after the last range: it reads as ones.
fn report_hole(range: Range) {
    let end = range.start + range.length;
    if let Some(memory) = Region::outside(end, 8) {
        paging::map(end);
        report!("  {end:#x} reads as {:#x}", memory.read::<u64>(0));
    }
}
