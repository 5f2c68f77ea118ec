//! `storm=N` makes N lives of each virtio device of the machine. In each life every queue gets as
//! much work as its ring holds, and the device is reset while it works: at once, or a little later.
//! After the reset the device's memory must not change, and no interrupt may come (virtio 1.2,
//! 2.4.1); otherwise the exit status is 1, and the last line says why. Option: `stay`, as for
//! `hostile`. This is not an attack, but an honest driver that is always in a hurry, with the same
//! [`Bench`] as the attacks.

use super::bench::{Bench, Outcome, Role, SIZE, Target, ok_if};
use super::{NOT_WELL, honest};
use crate::memory::Region;
use crate::modes::{Task, console};
use crate::ring::WRITE;
use crate::virtio::Virtio;
use crate::{interrupts, ports, start};

/// How long a device works until it is reset, in turns of a loop.
const SPINS: [u32; 4] = [0, 1_000, 10_000, 100_000];

/// How long to watch the memory after a reset. One life in `SELDOM` is watched longer.
const WATCH: u32 = 1_000;
const SELDOM: u32 = 64;
const LONG_WATCH: u32 = 300_000;

/// The pattern in memory that the device must not write to.
const PATTERN: u8 = 0xa5;

/// How many bytes at the beginning of each buffer are checked: a device begins to write there.
const FRONT: usize = 64;

/// The part of the buffer for each queue: a header, data, and a status byte after them.
const PART: u64 = 4096;
const DATA: u64 = 512;
const STATUS: u64 = 4000;

/// The mode `storm=N`.
pub(in crate::modes) fn storm(task: &Task<'_>) {
    let count: u32 = task.number();
    interrupts::enable();
    for (kind, device) in Virtio::all() {
        let bench = Bench::new(kind, device, task);
        device.msix.set(0, interrupts::message(interrupts::RECEIVE));
        device.msix.enable(true);
        let mut done = 0;
        for life in 0..count {
            done += live(&bench, life).unwrap_or_else(|why| end(&bench, life, why));
        }
        serves(&bench).unwrap_or_else(|why| end(&bench, count, why));
        let came = start::count(interrupts::RECEIVE);
        report!("storm: {}: {count} lives, {done} requests, {came} interrupts", bench.name);
    }
    if task.arguments.has("stay") {
        console::echo(task);
    }
}

pub(super) fn end(bench: &Bench, life: u32, why: &str) -> ! {
    report!("storm: {} in life {life}: {why}", bench.name);
    ports::exit(NOT_WELL)
}

/// Works from one reset to the next, and watches the memory after it. Returns the number of
/// requests.
fn live(bench: &Bench, life: u32) -> Result<u32, &'static str> {
    work(bench, life)?;
    let turn = usize::try_from(life).unwrap_or(0) % SPINS.len();
    spin(SPINS.get(turn).copied().unwrap_or(0));
    rest(bench, life, interrupts::RECEIVE)
}

/// Starts the device with as much work as there is room for.
pub(super) fn work(bench: &Bench, life: u32) -> Outcome {
    bench.prepare()?;
    bench.go_with(0);
    for target in bench.targets() {
        offer(bench, target, life);
    }
    Ok(())
}

/// Resets the device, checks that it does nothing any more, and returns the number of requests.
/// `vector` belongs to this device alone.
pub(super) fn rest(bench: &Bench, life: u32, vector: u8) -> Result<u32, &'static str> {
    bench.device.reset();
    let interrupts = start::count(vector);
    let done = bench.targets().map(|target| u32::from(target.ring.used_index())).sum();
    for region in bench.targets().flat_map(|target| watched(bench, target)) {
        region.write_bytes(0, &[PATTERN; FRONT]);
    }
    spin(if life.is_multiple_of(SELDOM) { LONG_WATCH } else { WATCH });
    for region in bench.targets().flat_map(|target| watched(bench, target)) {
        let mut after = [0; FRONT];
        region.read_bytes(0, &mut after);
        ok_if(after == [PATTERN; FRONT], "writes into memory after a reset")?;
    }
    let quiet = start::count(vector) == interrupts;
    ok_if(quiet, "interrupts after a reset").map(|()| done)
}

/// Lives once more, and waits for all of the work. (Input from outside may not come.)
fn serves(bench: &Bench) -> Outcome {
    bench.prepare()?;
    bench.go_with(0);
    for target in bench.targets().filter(|target| target.role.answers()) {
        offer(bench, target, 0);
        bench.expect_used(target, SIZE)?;
    }
    bench.device.reset();
    Ok(())
}

/// Returns the memory that the device has written to, or could have written to.
fn watched(bench: &Bench, target: &Target) -> [Region; 3] {
    let front = FRONT as u64;
    let part = part(bench, target);
    [target.ring.used.part(0, front), part.part(DATA, front), part.part(STATUS, front)]
}

fn part(bench: &Bench, target: &Target) -> Region {
    bench.buffer.part(u64::from(target.index) * PART, PART)
}

/// Offers one request in all entries of the ring.
fn offer(bench: &Bench, target: &Target, life: u32) {
    let (part, even) = (part(bench, target), life.is_multiple_of(2));
    let (data, status) = (part.address() + DATA, part.address() + STATUS);
    let chain: &[(u64, u32, u16)] = match target.role {
        Role::ConsoleReceive | Role::Random => &[(data, 64, WRITE)],
        Role::ConsoleTransmit => {
            part.write(DATA, b'.');
            &[(data, 1, 0)]
        }
        Role::NetReceive => &[(data, 2048, WRITE)],
        Role::NetTransmit => {
            // An Ethernet broadcast of an unknown type, after an empty header (5.1.6).
            part.part(DATA, 12).clear();
            part.write_bytes(DATA + 12, &[0xff; 6]);
            part.write_bytes(DATA + 24, &[0x88, 0xb5]);
            &[(data, 12 + 60, 0)]
        }
        Role::NetControl => {
            // The command "use one queue pair", or all of them (5.1.6.5.5).
            part.write_bytes(0, &[4, 0, if even { 1 } else { 2 }, 0]);
            &[(part.address(), 4, 0), (status, 1, WRITE)]
        }
        Role::Block => {
            // 5.2.6: reads and writes alternate.
            let (kind, flags) = if even { (0_u32, WRITE) } else { (1, 0) };
            part.write(0, kind);
            part.write(8, honest::OUR_SECTOR);
            &[(part.address(), 16, 0), (data, 512, flags), (status, 1, WRITE)]
        }
    };
    target.set_chain(chain);
    (0..SIZE).for_each(|index| target.ring.set_avail(index, 0));
    target.ring.set_avail_index(SIZE);
    target.notify();
}

pub(super) fn spin(turns: u32) {
    (0..turns).for_each(|_| core::hint::spin_loop());
}
