//! `kicks=N` sends N notifications to every queue of every virtio device of the machine, one device
//! after the other and then all together: first to queues that are not live, then to queues that
//! are live and have nothing new. The devices must work afterwards; otherwise the mode ends as
//! `hostile` does. Options: `stay`, `host=IP`.

use super::bench::{Bench, Target};
use super::{honest, judge};
use crate::modes::{Task, console};
use crate::virtio::Virtio;
use crate::{interrupts, ports};

/// More devices than the machine of any test has.
const MOST: usize = 8;

/// The mode `kicks=N`.
pub(in crate::modes) fn kicks(task: &Task<'_>) {
    let count: u32 = task.number();
    interrupts::enable();
    let mut benches = [const { None }; MOST];
    for (to, (kind, device)) in benches.iter_mut().zip(Virtio::all()) {
        *to = Some(Bench::new(kind, device, task));
    }
    let all = || benches.iter().flatten();
    let queues = all().flat_map(Bench::targets).count();
    report!("kicks: {queues} queues ...");
    for bench in all() {
        judge(bench, "features", bench.prepare().map_err(|why| (0, why)));
    }
    (0..count).for_each(|_| all().flat_map(Bench::targets).for_each(Target::notify));
    for bench in all() {
        bench.go();
    }
    (0..count).for_each(|_| all().flat_map(Bench::targets).for_each(Target::notify));
    for bench in all() {
        judge(bench, "kicks", bench.expect_whole().map_err(|why| (0, why)));
    }
    report!("kicks: {count} of each, twice");
    for bench in all() {
        judge(bench, "kicks", honest::serves(bench));
        bench.device.reset();
    }
    if task.arguments.has("stay") {
        console::echo(task);
    }
    ports::exit(0);
}
