//! Attacks by the status byte and the features (virtio 1.2, 2.1, 2.2, 3.1.1): steps left out or
//! taken back, features that were not offered, and resets at any time.

use super::bench::{Bench, Outcome, SIZE, Target, ok_if};
use super::queues::enable_at;
use super::{Attack, on_all, rings};
use crate::virtio::{F_VERSION_1, offset, status};

const DRIVER: u8 = status::ACKNOWLEDGE | status::DRIVER;
const READY: u8 = DRIVER | status::FEATURES_OK;
const LIVE: u8 = READY | status::DRIVER_OK;

pub(super) const ATTACKS: &[Attack] = &[
    on_all("driver-ok-before-features", driver_ok_early),
    on_all("features-not-offered", features),
    on_all("features-beyond-64", features_beyond),
    on_all("features-late", features_late),
    on_all("status-oddly", status_oddly),
    on_all("failed", failed),
    on_all("reset-with-requests", reset_with_requests),
    on_all("reset-storm", reset_storm),
];

/// Sets DRIVER_OK without FEATURES_OK, and sends a notification.
fn driver_ok_early(bench: &Bench, target: &Target) -> Outcome {
    bench.begin();
    enable_at(bench, target, [0xfff; 3]);
    bench.device.set_status(DRIVER | status::DRIVER_OK);
    target.notify();
    ok_if(bench.device.status() == DRIVER, "goes live without features")
}

/// 2.2.2: accepts all feature bits, and none.
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

/// 2.2.2: accepts a bit in a later word, which was not offered either. Words 2 and 3 can be cleared
/// again.
fn features_beyond(bench: &Bench, _target: &Target) -> Outcome {
    let accepted = bench.device.offered() & bench.wanted;
    let write = |select: u32, word: u32| {
        bench.device.common.write(offset::DRIVER_FEATURE_SELECT, select);
        bench.device.common.write(offset::DRIVER_FEATURE, word);
    };
    for select in [2, 3, 4, 31, u32::MAX] {
        bench.begin();
        write(select, 1 << 31);
        ok_if(!bench.device.accept(accepted), "accepts features beyond 63")?;
        if select < 4 {
            write(select, 0);
            ok_if(bench.device.accept(accepted), "does not take another choice of features")?;
        }
    }
    Ok(())
}

/// Features do not change after FEATURES_OK.
fn features_late(bench: &Bench, _target: &Target) -> Outcome {
    bench.prepare()?;
    let common = &bench.device.common;
    common.write(offset::DRIVER_FEATURE_SELECT, 0_u32);
    let before = common.read::<u32>(offset::DRIVER_FEATURE);
    common.write(offset::DRIVER_FEATURE, !before);
    let after = common.read::<u32>(offset::DRIVER_FEATURE);
    ok_if(before == after, "takes features after FEATURES_OK")
}

/// 2.1.1: only a reset clears a status bit, and no step can be skipped.
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

/// 2.1: a device with FAILED serves nothing.
fn failed(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    bench.device.set_status(LIVE | status::FAILED);
    rings::fill(bench, target);
    target.offer_head(0);
    bench.device.set_status(LIVE);
    let kept = (0..20).all(|_| bench.device.status() & status::FAILED != 0);
    ok_if(kept && target.ring.used_index() == 0, "serves a driver that has given up")
}

/// Offers as many requests as there is room for, and resets the device at once. The device must not
/// write to memory after that (2.4.1).
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

/// Resets at every step of the set-up, and with all doorbells rung.
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
