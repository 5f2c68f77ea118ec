//! Attacks by doorbells, MSI-X vectors, and accesses of odd widths (virtio 1.2, 4.1.3, 4.1.4.4,
//! 4.1.5). A live device must continue to work.

use super::bench::{Bench, NO_VECTOR, Outcome, Role, Target, ok_if};
use super::queues::select;
use super::{Attack, on_all, rings};
use crate::interrupts;
use crate::start;
use crate::virtio::offset;

pub(super) const ATTACKS: &[Attack] = &[
    on_all("notify-storm", notify_storm),
    on_all("notify-nobody", notify_nobody),
    on_all("vector-beyond", vector),
    Attack { name: "vectors-rewritten", on: Role::answers, run: rewrite_vectors },
    on_all("odd-accesses", odd_accesses),
];

/// Sends a thousand notifications without a request, then makes one.
fn notify_storm(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    (0..1000).for_each(|_| target.notify());
    rings::fill(bench, target);
    target.offer_head(0);
    if target.role.answers() { bench.expect_used(target, 1) } else { bench.expect_whole() }
}

/// Rings doorbells of queues that are not enabled or do not exist, before and after DRIVER_OK.
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

/// 4.1.5.1.2: a vector that does not exist reads back as NO_VECTOR.
fn vector(bench: &Bench, target: &Target) -> Outcome {
    bench.prepare()?;
    select(bench, target.index);
    let count = bench.targets().count() + 1;
    let beyond = u16::try_from(count).unwrap_or(0);
    for vector in [beyond, 0x7ff, 0xfffe] {
        for at in [offset::QUEUE_MSIX_VECTOR, offset::CONFIG_MSIX_VECTOR] {
            bench.device.common.write(at, vector);
            let taken = bench.device.common.read::<u16>(at) != NO_VECTOR;
            ok_if(!taken, "takes a vector that does not exist")?;
        }
    }
    Ok(())
}

/// Sets messages that route nowhere, masked and unmasked, while requests are served. Afterwards one
/// interrupt comes correctly.
fn rewrite_vectors(bench: &Bench, target: &Target) -> Outcome {
    // If one of these arrives anyway, its vector is one that is counted.
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

/// 4.1.3.1: registers have a width. This reads and writes all of them, and the space after them, in
/// all other widths.
fn odd_accesses(bench: &Bench, _target: &Target) -> Outcome {
    bench.start()?;
    let (common, config) = (&bench.device.common, &bench.device.config);
    for at in (0..0x40).step_by(8).chain([0x1000 - 8]) {
        // 8 bytes at 0x10 include the status, which must be neither 0 (a reset) nor FAILED.
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
