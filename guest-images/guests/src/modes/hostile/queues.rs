//! Attacks by the registers of queues (virtio 1.2, 4.1.4.3): impossible sizes and addresses, and
//! writes that are too early or too late. A refused value shows when it is read back; impossible
//! rings break the device.

use super::bench::{Bench, NO_VECTOR, Outcome, Role, SIZE, Target, ok_if};
use super::{Attack, on_all, rings};
use crate::memory::Region;
use crate::ring::Ring;
use crate::virtio::offset;

pub(super) const ATTACKS: &[Attack] = &[
    on_all("queue-size", queue_size),
    on_all("ring-outside", |bench, target| at(bench, target, [1 << 40, 1 << 40, 1 << 40])),
    on_all("ring-in-hole", |bench, target| at(bench, target, [0xd000_0000, 0, 0])),
    on_all("ring-in-bar", |bench, target| at(bench, target, [0, 0, bench.device.common.address()])),
    on_all("descriptors-over-end", |b, target| at(b, target, [b.ram_end - 16, 0, 0])),
    on_all("avail-over-end", |b, target| at(b, target, [0, b.ram_end - 4, 0])),
    on_all("used-over-end", |b, target| at(b, target, [0, 0, b.ram_end - 4])),
    on_all("ring-wraps", |bench, target| at(bench, target, [0, 0, u64::MAX - 3])),
    on_all("descriptors-misaligned", |b, t| at(b, t, [t.ring.descriptors.address() + 8, 0, 0])),
    on_all("avail-misaligned", |b, t| at(b, t, [0, t.ring.avail.address() + 1, 0])),
    on_all("used-misaligned", |b, t| at(b, t, [0, 0, t.ring.used.address() + 2])),
    Attack { name: "rings-at-end", on: Role::answers, run: at_end },
    on_all("enable-oddly", enable),
    on_all("no-queue-of-this-number", no_such_queue),
    on_all("queues-before-features", before_features),
    on_all("registers-while-live", while_live),
    on_all("nothing-enabled", nothing_enabled),
    on_all("only-this-enabled", only_this),
];

/// Writes the size register of the queue, and reads it back.
fn write_size(bench: &Bench, size: u16) -> u16 {
    bench.device.common.write(offset::QUEUE_SIZE, size);
    bench.device.common.read(offset::QUEUE_SIZE)
}

/// Selects this queue.
pub(super) fn select(bench: &Bench, queue: u16) {
    bench.device.common.write(offset::QUEUE_SELECT, queue);
}

/// Writes 0, a number that is not a power of two, and more than is offered. The size does not
/// change.
fn queue_size(bench: &Bench, target: &Target) -> Outcome {
    bench.prepare()?;
    select(bench, target.index);
    let taken = [0, 3, SIZE + 1, target.most.wrapping_mul(2), 0x8000, 0xffff]
        .into_iter()
        .any(|size| write_size(bench, size) != target.most);
    ok_if(!taken, "takes a queue size that it must not")
}

/// Enables the queue with its rings at these addresses; 0 stands for the correct address.
fn at(bench: &Bench, target: &Target, addresses: [u64; 3]) -> Outcome {
    bench.prepare()?;
    let Ring { descriptors, avail, used, .. } = target.ring;
    let good = [descriptors.address(), avail.address(), used.address()];
    enable_at(bench, target, core::array::from_fn(|part| pick(addresses, good, part)));
    bench.device.driver_ok();
    target.notify();
    bench.expect_broken()
}

fn pick(addresses: [u64; 3], good: [u64; 3], part: usize) -> u64 {
    let found = addresses.get(part).copied().filter(|address| *address != 0);
    found.or(good.get(part).copied()).unwrap_or(0)
}

/// Enables the queue with its rings at these addresses.
pub(super) fn enable_at(bench: &Bench, target: &Target, [descriptors, avail, used]: [u64; 3]) {
    let device = &bench.device;
    select(bench, target.index);
    device.common.write(offset::QUEUE_SIZE, SIZE);
    device.set_address(offset::QUEUE_DESC, descriptors);
    device.set_address(offset::QUEUE_DRIVER, avail);
    device.set_address(offset::QUEUE_DEVICE, used);
    device.common.write(offset::QUEUE_ENABLE, 1_u16);
}

/// A used ring that ends with RAM is legal.
fn at_end(bench: &Bench, target: &Target) -> Outcome {
    bench.prepare()?;
    let length = 8 * u64::from(SIZE) + 8;
    let start = bench.ram_end - length;
    let Some(used) = Region::outside(start, length) else { return Err("has its RAM end here") };
    used.clear();
    rings::fill(bench, target);
    target.ring.avail.clear();
    let ring = &target.ring;
    enable_at(bench, target, [ring.descriptors.address(), ring.avail.address(), start]);
    bench.device.driver_ok();
    target.offer_head(0);
    let mut other = *target;
    other.ring.used = used;
    bench.expect_used(&other, 1)
}

/// 4.1.4.3.2: only 1 enables a queue, and nothing disables it.
fn enable(bench: &Bench, target: &Target) -> Outcome {
    bench.prepare()?;
    select(bench, target.index);
    let common = &bench.device.common;
    for value in [0_u16, 2, 0xffff] {
        common.write(offset::QUEUE_ENABLE, value);
        ok_if(common.read::<u16>(offset::QUEUE_ENABLE) == 0, "is enabled by something odd")?;
    }
    bench.go();
    select(bench, target.index);
    common.write(offset::QUEUE_ENABLE, 0_u16);
    common.write(offset::QUEUE_ENABLE, 1_u16);
    ok_if(common.read::<u16>(offset::QUEUE_ENABLE) == 1, "is disabled while it is live")
}

/// 4.1.4.3.1: a queue that does not exist has the size 0.
fn no_such_queue(bench: &Bench, _target: &Target) -> Outcome {
    bench.prepare()?;
    let common = &bench.device.common;
    for queue in [common.read::<u16>(offset::NUM_QUEUES), 0x100, 0xffff] {
        select(bench, queue);
        common.write(offset::QUEUE_SIZE, SIZE);
        bench.device.set_address(offset::QUEUE_DESC, u64::MAX);
        common.write(offset::QUEUE_MSIX_VECTOR, 0_u16);
        common.write(offset::QUEUE_ENABLE, 1_u16);
        let [size, enabled, vector] =
            [offset::QUEUE_SIZE, offset::QUEUE_ENABLE, offset::QUEUE_MSIX_VECTOR]
                .map(|at| common.read::<u16>(at));
        ok_if((size, enabled, vector) == (0, 0, NO_VECTOR), "has a queue that it has not")?;
    }
    bench.device.driver_ok();
    bench.expect_whole()
}

/// 3.1.1: queues are set up after the features.
fn before_features(bench: &Bench, target: &Target) -> Outcome {
    bench.begin();
    enable_at(bench, target, [0xfff; 3]);
    let common = &bench.device.common;
    ok_if(common.read::<u16>(offset::QUEUE_ENABLE) == 0, "is enabled before FEATURES_OK")?;
    ok_if(write_size(bench, SIZE) == target.most, "takes a size before FEATURES_OK")
}

/// CVE-2026-5747: after DRIVER_OK, the queue's registers do not change.
fn while_live(bench: &Bench, target: &Target) -> Outcome {
    const REGISTERS: [u64; 6] = [0x20, 0x24, 0x28, 0x2c, 0x30, 0x34];
    bench.start()?;
    select(bench, target.index);
    let common = &bench.device.common;
    let before = REGISTERS.map(|at| common.read::<u32>(at));
    for value in [0_u32, 0xffff_fff0, 0xdead_beef] {
        REGISTERS.iter().for_each(|at| common.write(*at, value));
    }
    ok_if(REGISTERS.map(|at| common.read::<u32>(at)) == before, "lets its rings be moved")?;
    for size in [0_u16, 1, 3, target.most, 0xffff] {
        ok_if(write_size(bench, size) == SIZE, "lets its size be changed")?;
    }
    rings::fill(bench, target);
    target.offer_head(0);
    if target.role.answers() { bench.expect_used(target, 1) } else { bench.expect_whole() }
}

fn nothing_enabled(bench: &Bench, target: &Target) -> Outcome {
    bench.prepare()?;
    bench.device.driver_ok();
    rings::fill(bench, target);
    target.notify();
    bench.expect_whole()
}

fn only_this(bench: &Bench, target: &Target) -> Outcome {
    bench.prepare()?;
    target.ring.clear();
    bench.device.enable_queue(target.index, &target.ring, NO_VECTOR);
    bench.device.driver_ok();
    bench.targets().for_each(Target::notify);
    rings::fill(bench, target);
    target.offer_head(0);
    if target.role.answers() { bench.expect_used(target, 1) } else { bench.expect_whole() }
}
