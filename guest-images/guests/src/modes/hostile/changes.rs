//! Attacks on the announcement of a changed configuration: ISR status (virtio 1.2, 4.1.4.5) and a
//! masked vector. The change is DEVICE_NEEDS_RESET, which a driver can cause at any time (2.1.2).

use super::bench::{Bench, Outcome, SIZE, Target, ok_if};
use super::{Attack, on_all};
use crate::interrupts;

/// The ISR bit for a changed configuration.
const CONFIGURATION: u8 = 1 << 1;

/// The vector for changes of the configuration.
const VECTOR: u16 = 0;

pub(super) const ATTACKS: &[Attack] =
    &[on_all("isr-read", isr_read), on_all("isr-reset", isr_reset)];

/// 4.1.4.5.1: the bit is set before the interrupt is sent, and a read clears it.
fn isr_read(bench: &Bench, target: &Target) -> Outcome {
    break_masked(bench, target)?;
    let isr = || bench.device.isr.read::<u8>(0);
    ok_if(isr() == CONFIGURATION, "does not say in its ISR status that it has changed")?;
    ok_if(isr() == 0, "keeps its ISR status when it is read")
}

/// The bit is not set after a reset.
fn isr_reset(bench: &Bench, target: &Target) -> Outcome {
    break_masked(bench, target)?;
    bench.device.reset();
    let (isr, pending) = (bench.device.isr.read::<u8>(0), bench.device.msix.is_pending(VECTOR));
    ok_if(isr == 0, "keeps its ISR status when it is reset")?;
    ok_if(!pending, "keeps an interrupt pending when it is reset")
}

/// Breaks the device while the configuration's vector is masked. The vector is then pending.
fn break_masked(bench: &Bench, target: &Target) -> Outcome {
    let device = &bench.device;
    bench.prepare()?;
    device.msix.set(VECTOR, interrupts::message(interrupts::CONFIG));
    device.msix.mask(VECTOR, true);
    device.msix.enable(true);
    device.set_config_vector(VECTOR);
    ok_if(device.isr.read::<u8>(0) == 0, "has an ISR status before anything has changed")?;
    bench.go();
    target.offer_head(SIZE);
    let pending = (0..100_000).any(|_| device.msix.is_pending(VECTOR));
    device.msix.enable(false);
    ok_if(pending, "has no interrupt pending when its configuration has changed")
}
