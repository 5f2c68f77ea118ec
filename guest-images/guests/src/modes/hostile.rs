//! `hostile` makes every attack that we know of on every queue of every virtio device of the
//! machine. After each attack it resets the device, which must then serve an honest driver on all
//! of its queues. It does everything twice, without and with the event index (VIRTIO_F_EVENT_IDX).
//! At the end it prints a line with the number of attacks for each queue. The exit status is 0, or
//! 1 after the first attack that a device did not handle correctly; the last lines then name the
//! attack. `hostile=NAME` makes only one attack. Options: `stay` continues like `console` instead
//! of ending; `trace` prints the name of each attack before it is made, for attacks after which
//! nothing more is printed; `host=IP` is the address that answers behind a network card.
//!
//! An attack is a [`chains::Chain`], or a function of [`rings`], [`queues`], [`life`],
//! [`transport`], [`pci`], [`changes`], [`events`] or [`requests`]. Attacks work on a
//! [`bench::Bench`]; [`honest`] checks that a device still works.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{Task, console};
use crate::virtio::Virtio;
use crate::{interrupts, ports};

mod bench;
mod breakdowns;
mod busless;
mod chains;
mod changes;
mod disk;
mod events;
mod honest;
mod kicks;
mod life;
mod pci;
mod queues;
mod race;
mod requests;
mod rings;
mod soak;
mod storm;
mod transport;

pub(super) use breakdowns::breakdowns;
pub(super) use busless::busless;
pub(super) use disk::disk;
pub(super) use kicks::kicks;
pub(super) use race::race;
pub(super) use soak::soak;
pub(super) use storm::storm;

use bench::{Bench, Outcome, Role, Target};

/// The exit status after a device did not recover.
const NOT_WELL: u8 = 1;

/// An attack on one queue.
struct Attack {
    name: &'static str,
    /// Whether the attack makes sense on a queue with this role.
    on: fn(Role) -> bool,
    /// Makes the attack, and checks that the device reacts correctly.
    run: fn(&Bench, &Target) -> Outcome,
}

/// Returns an attack for queues of every kind.
const fn on_all(name: &'static str, run: fn(&Bench, &Target) -> Outcome) -> Attack {
    Attack { name, on: |_| true, run }
}

/// How many attacks were made.
static DONE: AtomicU32 = AtomicU32::new(0);

/// The mode `hostile`.
pub(super) fn attack(task: &Task<'_>) {
    interrupts::enable();
    for (kind, device) in Virtio::all() {
        let mut bench = Bench::new(kind, device, task);
        for event_index in [false, true] {
            bench.use_event_index(event_index);
            attack_device(&bench, task);
        }
        bench.device.reset();
    }
    let done = DONE.load(Ordering::Relaxed);
    if done == 0 {
        fail!("probe: hostile={}: no such attack on what is there", task.value);
    }
    report!("hostile: all well after {done} attacks");
    if task.arguments.has("stay") {
        console::echo(task);
    }
    ports::exit(0);
}

/// Makes all attacks on the queues of a device.
fn attack_device(bench: &Bench, task: &Task<'_>) {
    let (name, how) = (bench.name, bench.how());
    report!("hostile: {name}{how} ...");
    judge(bench, "nothing yet", honest::serves(bench));
    for target in bench.targets() {
        let attacks = attack_queue(bench, target, task);
        report!("hostile: {name} queue {}{how}: {attacks} attacks", target.index);
    }
}

/// Makes all attacks on a queue, or the one of this name, and returns how many there were.
fn attack_queue(bench: &Bench, target: &Target, task: &Task<'_>) -> u32 {
    let mut count = 0;
    let (only, trace) = (task.value, task.arguments.has("trace"));
    let mut after = |name: &str, outcome: Outcome| {
        judge(bench, name, outcome.map_err(|why| (target.index, why)));
        judge(bench, name, honest::serves(bench));
        DONE.fetch_add(1, Ordering::Relaxed);
        count += 1;
    };
    let wanted = |name: &str| only.is_empty() || only == name;
    let announce = |name: &str| {
        if trace {
            let (device, how) = (bench.name, bench.how());
            report!("hostile: {device} queue {}{how}: {name} ...", target.index);
        }
    };
    for chain in chains::CHAINS.iter().filter(|chain| wanted(chain.name)) {
        announce(chain.name);
        after(chain.name, chain.offer(bench, target));
    }
    let lists = [
        rings::ATTACKS,
        queues::ATTACKS,
        life::ATTACKS,
        transport::ATTACKS,
        pci::ATTACKS,
        changes::ATTACKS,
        events::ATTACKS,
        requests::ATTACKS,
    ];
    let attacks = lists.iter().copied().flatten().filter(|attack| wanted(attack.name));
    for attack in attacks.filter(|attack| (attack.on)(target.role)) {
        announce(attack.name);
        after(attack.name, (attack.run)(bench, target));
    }
    count
}

/// Ends the guest if a device did not handle an attack correctly.
fn judge(bench: &Bench, attack: &str, outcome: Result<(), (u16, &'static str)>) {
    if let Err((queue, why)) = outcome {
        let status = bench.device.status();
        let (name, how) = (bench.name, bench.how());
        report!("hostile: {name} queue {queue}{how}, after {attack}: {why}");
        report!("hostile: status {status:#04x}; {} attacks before", DONE.load(Ordering::Relaxed));
        ports::exit(NOT_WELL);
    }
}
