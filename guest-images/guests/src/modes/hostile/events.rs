//! Attacks by the event index (VIRTIO_F_EVENT_IDX; virtio 1.2, 2.7.7, 2.7.10). The driver requests
//! interrupts with nonsensical values, and overwrites the device's field for notifications. Without
//! the feature, these fields have no meaning.

use super::bench::{Bench, Outcome, Role, SIZE, Target, ok_if};
use super::{Attack, rings};
use crate::{interrupts, start};

pub(super) const ATTACKS: &[Attack] =
    &[Attack { name: "event-index-lies", on: Role::answers, run: lies }];

/// All requests are answered, and afterwards the requested interrupts come.
fn lies(bench: &Bench, target: &Target) -> Outcome {
    let (device, entry) = (&bench.device, target.index + 1);
    bench.prepare()?;
    target.ring.clear();
    device.msix.set(entry, interrupts::message(interrupts::TRANSMIT));
    device.msix.enable(true);
    device.enable_queue(target.index, &target.ring, entry);
    device.driver_ok();
    rings::fill(bench, target);
    let lies = [0x8000, 0xffff, SIZE, SIZE + 1, 1, 0];
    for (count, lie) in (1..).zip(lies) {
        target.ring.set_used_event(lie);
        target.ring.set_avail_event(lie);
        target.ring.set_avail_index(count);
        target.notify();
        bench.expect_used(target, count)?;
    }
    // The first interrupt may belong to an earlier nonsensical value.
    let mut came = true;
    for count in 7..10 {
        let before = start::count(interrupts::TRANSMIT);
        target.offer_head(0);
        bench.expect_used(target, count)?;
        came &= (0..1000).any(|_| {
            let _ = device.status(); // Time passes.
            start::count(interrupts::TRANSMIT) != before
        });
    }
    device.msix.enable(false);
    device.msix.mask(entry, true);
    ok_if(came, "does not interrupt when it is asked to")
}
