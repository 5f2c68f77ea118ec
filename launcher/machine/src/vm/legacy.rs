//! The timer and the two interrupt controllers of a PC, which few guests use: the PIT (i8254) and
//! the 8259, as firmware leaves them.

use anyhow::{Context, Result};
use kvm_bindings::{
    KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_PIT_SPEAKER_DUMMY, kvm_irqchip,
    kvm_pic_state, kvm_pit_config,
};
use kvm_ioctls::VmFd;

use crate::sys;

/// The controllers, with the inputs that can be level-triggered (ELCR): not the timer, the
/// keyboard, the cascade, the real-time clock and the FPU.
const CONTROLLERS: [(u32, u8); 2] = [(KVM_IRQCHIP_PIC_MASTER, 0xf8), (KVM_IRQCHIP_PIC_SLAVE, 0xde)];

/// Mask all inputs of the interrupt controllers. KVM starts with all of them unmasked, and passes
/// interrupts on to the first vCPU (LINT0 is in ExtINT mode): a guest that uses the I/O APIC alone,
/// and enables interrupts without a look at these controllers, would get the power button as vector
/// 5.
pub(super) fn mask_pics(fd: &VmFd) -> Result<()> {
    for (chip_id, elcr_mask) in CONTROLLERS {
        let mut chip = kvm_irqchip { chip_id, ..Default::default() };
        chip.chip.pic = kvm_pic_state { imr: 0xff, elcr_mask, ..Default::default() };
        fd.set_irqchip(&chip).context("masking the 8259 interrupt controllers")?;
    }
    Ok(())
}

/// Create the PIT, for kernels that calibrate their clocks by it: those without kvm-clock. A timer
/// that no kernel has programmed costs nothing.
pub(super) fn create_timer(fd: &VmFd) -> Result<()> {
    // The timer's second channel is visible at port 0x61, which is the speaker's.
    let config = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
    fd.create_pit2(config).context("creating the timer (PIT)")?;
    // KVM drops a tick that the guest had no time for. Linux does not rely on late ticks, and they
    // would cost AMD's guests the processor's own interrupt controller (AVIC).
    sys::lose_late_ticks(fd).context("setting up the timer (PIT)")
}
