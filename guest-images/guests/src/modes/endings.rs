//! The ways in which a guest ends, or does not.

use super::Task;
use crate::memory::Region;
use crate::serial::Serial;
use crate::{ports, start};

/// An address in the window for devices where none is: the last page of it.
const NOWHERE: u64 = 0xfebf_f000;

/// `status=N`: end with this exit status.
pub(super) fn status(task: &Task<'_>) {
    ports::exit(task.number());
}

/// `panic`: as a kernel that has panicked.
pub(super) fn panic(_: &Task<'_>) {
    ports::panicked();
}

/// `reset=acpi`, `cf9`, `keyboard`, or `triple` (Linux's reboot=t: the interrupt
/// descriptor table is empty).
pub(super) fn reset(task: &Task<'_>) {
    match task.value {
        "acpi" => ports::reset_by_acpi(),
        "cf9" => ports::reset_by_chipset(),
        "keyboard" => ports::reset_by_keyboard(),
        "triple" => start::triple_fault(0, 0),
        other => fail!("probe: reset={other}: acpi, cf9, keyboard and triple are known"),
    }
}

/// `crash=triple` (the interrupt descriptor table is there, but broken: that is
/// not a reset), `emulation` (KVM gives up), `fault` (the guest itself gives
/// up), or `panic` (Rust gives up).
pub(super) fn crash(task: &Task<'_>) {
    match task.value {
        // Zeroes: descriptors that are not present.
        "triple" => start::triple_fault(0xfff, Region::take(0x1000, 16).address()),
        "emulation" => start::fail_emulation(NOWHERE),
        // Not canonical: #GP.
        "fault" => match Region::outside(1 << 63, 8) {
            Some(nowhere) => nowhere.write(0, 0_u64),
            None => fail!("probe: the image is everywhere"),
        },
        "panic" => panic!("as told"),
        other => fail!("probe: crash={other}: triple, emulation, fault and panic are known"),
    }
}

/// `hang=halt` or `spin`, with interrupts off.
pub(super) fn hang(task: &Task<'_>) {
    match task.value {
        "halt" => start::halt_for_good(),
        "spin" => {
            start::disable_interrupts();
            ports::stop();
        }
        other => fail!("probe: hang={other}: halt and spin are known"),
    }
}

/// `noconsole`: a guest that idles, and never looks for a console.
pub(super) fn noconsole(_: &Task<'_>) {
    report!("probe: idle");
    loop {
        start::halt_unless_more_than(start::total());
    }
}

/// `serial=TEXT`: a line on COM1.
pub(super) fn serial(task: &Task<'_>) {
    Serial.write(task.value.as_bytes());
    Serial.write(b"\n");
}
