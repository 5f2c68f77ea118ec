//! Attacks by the registers (virtio 1.2, 4.1.4, 3.1.1): what a driver may not
//! write, or not now. Most have to change nothing, which reading back shows;
//! where the device is live it must go on serving.

use super::bench::{Bench, NO_VECTOR, Outcome, Role, SIZE, Target, ok_if};
use super::{Attack, on_all, rings};
use crate::interrupts;
use crate::memory::Region;
use crate::ring::Ring;
use crate::start;
use crate::virtio::{F_VERSION_1, offset, status};

const DRIVER: u8 = status::ACKNOWLEDGE | status::DRIVER;
const READY: u8 = DRIVER | status::FEATURES_OK;
const LIVE: u8 = READY | status::DRIVER_OK;

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
    on_all("driver-ok-before-features", driver_ok_early),
    on_all("features-not-offered", features),
    on_all("features-late", features_late),
    on_all("registers-while-live", while_live),
    on_all("status-oddly", status_oddly),
    on_all("failed", failed),
    on_all("nothing-enabled", nothing_enabled),
    on_all("only-this-enabled", only_this),
    on_all("notify-storm", notify_storm),
    on_all("notify-nobody", notify_nobody),
    on_all("vector-beyond", vector),
    Attack { name: "vectors-rewritten", on: Role::answers, run: rewrite_vectors },
    on_all("odd-accesses", odd_accesses),
    on_all("reset-with-requests", reset_with_requests),
    on_all("reset-storm", reset_storm),
];

/// Write a register of the queue, and read it back.
fn write_size(bench: &Bench, size: u16) -> u16 {
    bench.device.common.write(offset::QUEUE_SIZE, size);
    bench.device.common.read(offset::QUEUE_SIZE)
}

fn select(bench: &Bench, queue: u16) {
    bench.device.common.write(offset::QUEUE_SELECT, queue);
}

/// 0, no power of two, more than is offered: it stays as it was.
fn queue_size(bench: &Bench, target: &Target) -> Outcome {
    bench.prepare()?;
    select(bench, target.index);
    let taken = [0, 3, SIZE + 1, target.most.wrapping_mul(2), 0x8000, 0xffff]
        .into_iter()
        .any(|size| write_size(bench, size) != target.most);
    ok_if(!taken, "takes a queue size that it must not")
}

/// Rings at these addresses, or where they should be if that is 0.
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

fn enable_at(bench: &Bench, target: &Target, [descriptors, avail, used]: [u64; 3]) {
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

/// 4.1.4.3.2: only 1 enables, and nothing disables.
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

/// 4.1.4.3.1: what there is not has a size of 0.
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

/// DRIVER_OK without FEATURES_OK, and a notification on top.
fn driver_ok_early(bench: &Bench, target: &Target) -> Outcome {
    bench.begin();
    enable_at(bench, target, [0xfff; 3]);
    bench.device.set_status(DRIVER | status::DRIVER_OK);
    target.notify();
    ok_if(bench.device.status() == DRIVER, "goes live without features")
}

/// 2.2.2: all bits, and none.
fn features(bench: &Bench, _target: &Target) -> Outcome {
    let offered = bench.device.offered();
    for wanted in [u64::MAX, offered | 1 << 63, offered | 1 << 34, offered & !F_VERSION_1, 0] {
        bench.begin();
        ok_if(!bench.device.accept(wanted), "accepts features that it must not")?;
    }
    let common = &bench.device.common;
    for select in [2_u32, 31, 0xffff_ffff] {
        common.write(offset::DEVICE_FEATURE_SELECT, select);
        common.write(offset::DRIVER_FEATURE_SELECT, select);
        common.write(offset::DRIVER_FEATURE, u32::MAX);
        ok_if(common.read::<u32>(offset::DEVICE_FEATURE) == 0, "offers features beyond 63")?;
    }
    Ok(())
}

/// After FEATURES_OK they stay.
fn features_late(bench: &Bench, _target: &Target) -> Outcome {
    bench.prepare()?;
    let common = &bench.device.common;
    common.write(offset::DRIVER_FEATURE_SELECT, 0_u32);
    let before = common.read::<u32>(offset::DRIVER_FEATURE);
    common.write(offset::DRIVER_FEATURE, !before);
    let after = common.read::<u32>(offset::DRIVER_FEATURE);
    ok_if(before == after, "takes features after FEATURES_OK")
}

/// CVE-2026-5747: from DRIVER_OK on a queue's registers are inert.
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

/// 2.1.1: no bit goes but by a reset, and none is skipped.
fn status_oddly(bench: &Bench, _target: &Target) -> Outcome {
    let device = &bench.device;
    device.reset();
    for bits in [status::DRIVER, status::DRIVER_OK, READY & !1, 16, 32, status::NEEDS_RESET] {
        device.set_status(bits);
        ok_if(device.status() & !status::ACKNOWLEDGE == 0, "skips a step")?;
        device.reset();
    }
    bench.start()?;
    for bits in [READY, DRIVER, status::ACKNOWLEDGE, LIVE | 32, LIVE | status::NEEDS_RESET, LIVE] {
        device.set_status(bits);
        ok_if(device.status() == LIVE, "has its status changed by nonsense")?;
    }
    Ok(())
}

/// 2.1: the driver has given up; nothing is served.
fn failed(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    bench.device.set_status(LIVE | status::FAILED);
    rings::fill(bench, target);
    target.offer_head(0);
    bench.device.set_status(LIVE);
    let kept = (0..20).all(|_| bench.device.status() & status::FAILED != 0);
    ok_if(kept && target.ring.used_index() == 0, "serves a driver that has given up")
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

/// Nothing new, a thousand times; then something.
fn notify_storm(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    (0..1000).for_each(|_| target.notify());
    rings::fill(bench, target);
    target.offer_head(0);
    if target.role.answers() { bench.expect_used(target, 1) } else { bench.expect_whole() }
}

/// Doorbells of queues that are not enabled, or are none, before and after.
fn notify_nobody(bench: &Bench, target: &Target) -> Outcome {
    let doorbells = bench.device.notify;
    bench.device.reset();
    target.notify();
    bench.prepare()?;
    target.notify();
    bench.device.driver_ok();
    for at in (0..256).step_by(4).chain([1022, 2048]) {
        doorbells.write(at, 0xffff_u16);
    }
    target.notify();
    doorbells.write(0, 0xff_u8);
    doorbells.write(0, u32::MAX);
    doorbells.write(0, u64::MAX);
    bench.expect_whole()
}

/// 4.1.5.1.2: a vector that there is not reads back as none.
fn vector(bench: &Bench, target: &Target) -> Outcome {
    bench.prepare()?;
    select(bench, target.index);
    let count = bench.targets().count() + 1;
    let beyond = u16::try_from(count).unwrap_or(0);
    for vector in [beyond, 0x7ff, 0xfffe] {
        for at in [offset::QUEUE_MSIX_VECTOR, offset::CONFIG_MSIX_VECTOR] {
            bench.device.common.write(at, vector);
            let taken = bench.device.common.read::<u16>(at) != NO_VECTOR;
            ok_if(!taken, "takes a vector that there is not")?;
        }
    }
    Ok(())
}

/// Messages to nowhere, masked and not, while requests are served; then one
/// interrupt comes as it should.
fn rewrite_vectors(bench: &Bench, target: &Target) -> Outcome {
    // All that can arrive is a vector that is counted, whatever the address says.
    const NOWHERE: [(u64, u32); 4] =
        [(0, 0x3e), (0xfff0, 0x3e), (u64::MAX, 0x3e), (0xffff_fff0_fee0_0000, 0x3e)];
    let (device, entry) = (&bench.device, target.index + 1);
    bench.prepare()?;
    target.ring.clear();
    device.msix.set(entry, NOWHERE[0]);
    device.msix.enable(true);
    device.enable_queue(target.index, &target.ring, entry);
    device.driver_ok();
    rings::fill(bench, target);
    for (count, message) in (1..).zip(NOWHERE.into_iter().cycle().take(12)) {
        target.offer_head(0);
        device.msix.set(entry, message);
        device.msix.mask(entry, count % 3 == 0);
        device.msix.enable(count % 4 != 0);
        bench.expect_used(target, count)?;
    }
    device.msix.set(entry, interrupts::message(interrupts::TRANSMIT));
    device.msix.enable(true);
    let before = start::count(interrupts::TRANSMIT);
    target.offer_head(0);
    bench.expect_used(target, 13)?;
    let came = (0..1000).any(|_| {
        let _ = device.status(); // Time passes.
        start::count(interrupts::TRANSMIT) != before
    });
    device.msix.enable(false);
    device.msix.mask(entry, true);
    ok_if(came, "does not interrupt any more")
}

/// 4.1.3.1: registers have a width. All are read and written in all others, and
/// what comes after them.
fn odd_accesses(bench: &Bench, _target: &Target) -> Outcome {
    bench.start()?;
    let (common, config) = (&bench.device.common, &bench.device.config);
    for at in (0..0x40).step_by(8).chain([0x1000 - 8]) {
        // 8 bytes at 0x10 hold the status: not 0, which resets, nor FAILED.
        let value = 0x0707_070f_0707_0707_u64;
        common.write(at, value);
        let _: u64 = common.read(at);
        let _: u8 = common.read(at + 1);
        let _: u16 = common.read(at + 6);
        common.write(at + 3, 0x77_u8);
    }
    for region in [config, &bench.device.msix.table] {
        for at in [0, 8, 0x10] {
            let _: u64 = region.read(at);
            let _: u16 = region.read(at + 2);
        }
    }
    for at in [0, 8, 0x38, 0x1000 - 8] {
        let before: u64 = config.read(at);
        config.write(at, u64::MAX);
        config.write(at + 4, 0_u8);
        ok_if(config.read::<u64>(at) == before, "lets its configuration be written")?;
    }
    bench.expect_whole()
}

/// As many requests as there is room for, and a reset at once: what the device
/// writes after that it writes into somebody's memory (2.4.1).
fn reset_with_requests(bench: &Bench, target: &Target) -> Outcome {
    for spins in [0, 1000, 100_000] {
        bench.start()?;
        rings::fill(bench, target);
        target.ring.set_avail_index(SIZE);
        target.notify();
        (0..spins).for_each(|_| core::hint::spin_loop());
        bench.device.reset();
        target.ring.used.write_bytes(0, &[0xa5; 64]);
        ok_if((0..20).all(|_| bench.device.status() == 0), "does not stay reset")?;
        let mut after = [0; 64];
        target.ring.used.read_bytes(0, &mut after);
        ok_if(after == [0xa5; 64], "writes into memory after a reset")?;
    }
    Ok(())
}

/// From every step on the way, and with all doorbells rung.
fn reset_storm(bench: &Bench, _target: &Target) -> Outcome {
    for _ in 0..5 {
        bench.begin();
        bench.prepare()?;
        bench.start()?;
        bench.targets().for_each(Target::notify);
    }
    (0..20).for_each(|_| bench.device.set_status(0));
    ok_if(bench.device.status() == 0, "is not reset")
}
