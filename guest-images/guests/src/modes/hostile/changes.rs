//! Attacks on how a device announces that its configuration has changed: ISR status
//! (virtio 1.2, 4.1.4.5) and a vector that is masked. The change is a breakdown, which
//! a driver can bring about at any time (2.1.2).

use super::bench::{Bench, Outcome, SIZE, Target, ok_if};
use super::{Attack, on_all};
use crate::interrupts;

/// ISR status: the configuration has changed.
const CONFIGURATION: u8 = 1 << 1;

/// The vector of the configuration.
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

/// The state after power-on has no bit.
fn isr_reset(bench: &Bench, target: &Target) -> Outcome {
    break_masked(bench, target)?;
    bench.device.reset();
    let (isr, pending) = (bench.device.isr.read::<u8>(0), bench.device.msix.is_pending(VECTOR));
    ok_if(isr == 0, "keeps its ISR status when it is reset")?;
    ok_if(!pending, "keeps an interrupt pending when it is reset")
}

/// Break the device with the configuration's vector masked; it is pending then.
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
