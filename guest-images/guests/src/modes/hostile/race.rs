//! `race=N` makes N rounds for each queue of each virtio device. In each round a second CPU
//! rewrites what the device reads, a descriptor and the header of a request, and what it must no
//! longer read: the queue's registers while it works (CVE-2026-5747). The mode ends as `hostile` does, with a line for each
//! queue that says how often the device answered, and how often it refused and needed a reset.
//! Options: `stay`, `host=IP`. Needs `--cpus 2`.

use super::bench::{Bench, NO_VECTOR, Outcome, Role, SIZE, Target, ok_if};
use super::honest::{self, OUR_SECTOR};
use super::{judge, queues, rings};
use crate::modes::{Task, console};
use crate::ring::WRITE;
use crate::virtio::{Virtio, offset};
use crate::{interrupts, ports, second};

/// What the second CPU writes: address, number of bytes, value.
type Write = (u64, u64, u64);

/// How often a round of [`headers`] fills the ring. A single fill would
/// rarely meet the short time between two reads of a header.
const HEADERS: u32 = 10;

/// How often a device answered, and how often it refused.
#[derive(Default)]
struct Counts {
    answered: u32,
    refused: u32,
}

/// The mode `race=N`.
pub(in crate::modes) fn race(task: &Task<'_>) {
    let rounds: u32 = task.number();
    interrupts::enable();
    second::start();
    for (kind, device) in Virtio::all() {
        let bench = Bench::new(kind, device, task);
        for target in bench.targets() {
            let mut counts = Counts::default();
            let races: [(&str, Race); 3] =
                [("registers", registers), ("descriptors", descriptors), ("headers", headers)];
            for (name, run) in races {
                let outcome = run(&bench, target, rounds, &mut counts);
                second::stop_writing();
                judge(&bench, name, outcome.map_err(|why| (target.index, why)));
                judge(&bench, name, honest::serves(&bench));
            }
            let Counts { answered, refused } = counts;
            let (name, queue) = (bench.name, target.index);
            report!("race: {name} queue {queue}: {answered} answered, {refused} refused");
        }
        bench.device.reset();
    }
    if task.arguments.has("stay") {
        console::echo(task);
    }
    ports::exit(0);
}

type Race = fn(&Bench, &Target, u32, &mut Counts) -> Outcome;

/// After DRIVER_OK, the queue's registers do not change, whichever CPU writes to them at whatever
/// time.
fn registers(bench: &Bench, target: &Target, rounds: u32, counts: &mut Counts) -> Outcome {
    bench.start()?;
    queues::select(bench, target.index);
    let common = &bench.device.common;
    let place = |at: u64| common.address() + at;
    second::keep_writing(&[
        (place(offset::QUEUE_SIZE), 2, 0),
        (place(offset::QUEUE_DESC), 4, 0xdead_bee0),
        (place(offset::QUEUE_DRIVER), 4, 0xffff_fffe),
        (place(offset::QUEUE_DEVICE), 4, 0),
        (place(offset::QUEUE_DEVICE) + 4, 4, 0xffff_ffff),
        (place(offset::QUEUE_ENABLE), 2, 0),
        (place(offset::QUEUE_SIZE), 2, 0x8000),
    ]);
    rings::fill(bench, target);
    for round in 0..rounds {
        match target.role {
            Role::Block => honest::write_and_read(bench, target, round)?,
            role if role.answers() => answers_all(bench, target)?,
            _ => bench.expect_whole()?,
        }
        counts.answered += 1;
    }
    second::stop_writing();
    let ring = &target.ring;
    for (at, value) in [
        (offset::QUEUE_DESC, ring.descriptors.address()),
        (offset::QUEUE_DRIVER, ring.avail.address()),
        (offset::QUEUE_DEVICE, ring.used.address()),
    ] {
        let [low, high] = [at, at + 4].map(|at| u64::from(common.read::<u32>(at)));
        ok_if(low | high << 32 == value, "lets its rings be moved")?;
    }
    let kept = [(offset::QUEUE_SIZE, SIZE), (offset::QUEUE_ENABLE, 1)];
    let kept = kept.into_iter().all(|(at, value)| common.read::<u16>(at) == value);
    ok_if(kept && common.read::<u16>(offset::QUEUE_MSIX_VECTOR) == NO_VECTOR, "lets it be resized")
}

/// Offers as many requests as there is room for.
fn answers_all(bench: &Bench, target: &Target) -> Outcome {
    let index = target.ring.avail_index().wrapping_add(SIZE);
    target.ring.set_avail_index(index);
    target.notify();
    bench.expect_used(target, index)
}

/// The device sees either one descriptor or the other, never an unchecked mixture. (All bits of the
/// good address are also set in the bad ones, so half of each is not another place in RAM.)
fn descriptors(bench: &Bench, target: &Target, rounds: u32, counts: &mut Counts) -> Outcome {
    const BAD: [(u64, u64); 4] =
        [(0xffff << 48, 8), (0xd000_0000, 64), (0, u32::MAX as u64), (1 << 40, 1)];
    let table = target.ring.descriptors.address();
    let turns = rounds.min(u32::from(u16::MAX));
    for (_, (bad, length)) in (0..turns).zip(BAD.into_iter().cycle()) {
        second::stop_writing();
        bench.start()?;
        rings::fill(bench, target);
        let good = target.ring.descriptors.read::<u64>(0);
        second::keep_writing(&[
            (table, 8, good | bad),
            (table + 8, 4, length),
            (table + 8, 4, 64),
            (table, 8, good),
        ]);
        // One of a few may be refused; the device then takes no more.
        for _ in 0..4 {
            if !target.role.answers() {
                target.offer_head(0);
                continue;
            }
            match answers_all(bench, target) {
                Ok(()) => counts.answered += 1,
                Err(_) => {
                    bench.expect_broken()?;
                    counts.refused += 1;
                    break;
                }
            }
        }
    }
    Ok(())
}

/// A request is what its header was when it was read. It is answered with success or an error, and
/// only our sector of the disk is written.
fn headers(bench: &Bench, target: &Target, rounds: u32, counts: &mut Counts) -> Outcome {
    let at = bench.buffer.address();
    // A write there would make the file grow.
    let beyond = bench.device.config.read::<u64>(0) | OUR_SECTOR;
    let (writes, chain): ([Write; 4], &[(u64, u32, u16)]) = match target.role {
        Role::Block => (
            [(at + 8, 8, beyond), (at, 4, 99), (at + 8, 8, OUR_SECTOR), (at, 4, 1)],
            &[(at, 16, 0), (at + 4096, 512, 0), (at + 16, 1, WRITE)],
        ),
        Role::NetTransmit => (
            [(at, 8, u64::MAX), (at + 8, 2, 0xffff), (at, 8, 0), (at + 8, 2, 0)],
            &[(at, 12 + 60, 0)],
        ),
        Role::NetControl => (
            [
                (at, 4, 0xffff_ffff),
                (at, 4, 0x0001_0004),
                (at, 4, 0x8000_0004),
                (at, 4, 0x0001_0004),
            ],
            &[(at, 4, 0), (at + 16, 1, WRITE)],
        ),
        _ => return Ok(()),
    };
    bench.start()?;
    bench.buffer.part(0, 16).clear();
    target.set_chain(chain);
    (0..SIZE).for_each(|index| target.ring.set_avail(index, 0));
    second::keep_writing(&writes);
    for _ in 0..rounds.saturating_mul(HEADERS) {
        bench.buffer.write(16, 0xee_u8);
        answers_all(bench, target)?;
        let status: u8 = bench.buffer.read(16);
        // The status belongs to the last request.
        match (target.role, status) {
            // Success, an error of the device, or "unsupported" (5.2.6).
            (Role::Block, 0) | (Role::NetControl, 0) | (Role::NetTransmit, _) => {
                counts.answered += 1;
            }
            (Role::Block, 1 | 2) | (Role::NetControl, 1) => counts.refused += 1,
            _ => return Err("does neither one nor the other"),
        }
    }
    Ok(())
}
