//! Attacks by the rings (virtio 1.2, 2.7.6 to 2.7.8): indices that jump, and a driver that writes
//! to the used ring.

use super::bench::{Bench, Outcome, Role, SIZE, Target};
use super::{Attack, on_all};
use crate::ring::{Descriptor, WRITE};
use crate::virtio::F_INDIRECT_DESC;

pub(super) const ATTACKS: &[Attack] = &[
    on_all("index-past-ring", |bench, target| jump(bench, target, SIZE + 1)),
    on_all("index-half-way-round", |bench, target| jump(bench, target, 0x8000)),
    on_all("index-before-start", |bench, target| jump(bench, target, 0xffff)),
    Attack { name: "index-backwards", on: Role::answers, run: backwards },
    Attack { name: "one-head-everywhere", on: Role::answers, run: one_head },
    Attack { name: "used-ring-written", on: Role::answers, run: used_ring },
    on_all("indirect-without-feature", indirect),
    on_all("descriptor-flips", flip),
];

/// All entries of the ring are good, but the index is not.
fn jump(bench: &Bench, target: &Target, index: u16) -> Outcome {
    bench.start()?;
    fill(bench, target);
    target.ring.set_avail_index(index);
    target.notify();
    bench.expect_broken()
}

/// 2.7.6.1: "A driver MUST NOT decrement the available idx".
fn backwards(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    fill(bench, target);
    target.offer_head(0);
    bench.expect_used(target, 1)?;
    target.ring.set_avail_index(0);
    target.notify();
    bench.expect_broken()
}

/// Offers the same chain in every entry of the ring, and expects as many answers.
fn one_head(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    fill(bench, target);
    target.ring.set_avail_index(SIZE);
    target.notify();
    bench.expect_used(target, SIZE)
}

/// The device must not rely on the contents of the used ring.
fn used_ring(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    fill(bench, target);
    for index in 1..=3 {
        target.ring.used.write_bytes(0, &[0xff; 4 + 8 * SIZE as usize]);
        target.offer_head(0);
        bench.expect_used(target, index)?;
    }
    Ok(())
}

/// Offers an indirect table although the driver has not negotiated the feature.
fn indirect(bench: &Bench, target: &Target) -> Outcome {
    bench.prepare_with(bench.wanted & !F_INDIRECT_DESC)?;
    bench.go();
    let flags = crate::ring::INDIRECT;
    let address = bench.table.address();
    target.ring.set_descriptor(0, Descriptor { address, length: 16, flags, next: 0 });
    target.offer_head(0);
    bench.expect_broken()
}

/// The descriptor changes while the device reads it. The device sees one or the other, never an
/// unchecked mixture. (All bits of the good address are also set in the bad ones, so half of each
/// is not another place in RAM.)
fn flip(bench: &Bench, target: &Target) -> Outcome {
    const BAD: [(u64, u32); 4] =
        [(0xffff << 48, 8), (0xd000_0000, 64), (0, u32::MAX), (1 << 40, 1)];
    bench.start()?;
    fill(bench, target);
    let descriptors = &target.ring.descriptors;
    let (good, length) = (descriptors.read::<u64>(0), descriptors.read::<u32>(8));
    for (index, (bad, bad_length)) in (1..=200).zip(BAD.into_iter().cycle()) {
        target.offer_head(0);
        for _ in 0..50 {
            descriptors.write(0, good | bad);
            descriptors.write(8, bad_length);
            descriptors.write(8, length);
            descriptors.write(0, good);
        }
        if !target.role.answers() {
            break;
        }
        match bench.expect_used(target, index) {
            Ok(()) => {}
            Err(_) => return bench.expect_broken(),
        }
    }
    Ok(())
}

/// Writes a good request of 64 bytes into descriptor 0, and refers to it from every entry.
pub(super) fn fill(bench: &Bench, target: &Target) {
    bench.buffer.write_bytes(0, &[b'.'; 64]);
    let flags = if target.role.is_for_guest() { WRITE } else { 0 };
    let address = bench.buffer.address();
    target.ring.set_descriptor(0, Descriptor { address, length: 64, flags, next: 0 });
    (0..SIZE).for_each(|index| target.ring.set_avail(index, 0));
}
