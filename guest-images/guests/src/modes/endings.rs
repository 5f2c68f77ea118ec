//! The ways in which a guest ends, or hangs.

use super::Task;
use crate::memory::Region;
use crate::serial::Serial;
use crate::{ports, start};

/// An address in the device window where no device is: its last page.
const NOWHERE: u64 = 0xfebf_f000;

/// The mode `status=N` ends with this exit status.
pub(super) fn status(task: &Task<'_>) {
    ports::exit(task.number());
}

/// The mode `panic` ends like a kernel that has panicked.
pub(super) fn panic(_: &Task<'_>) {
    ports::panicked();
}

/// The mode `reset` resets by `acpi`, `cf9`, `keyboard`, or `triple` (Linux's reboot=t: an empty
/// interrupt descriptor table).
pub(super) fn reset(task: &Task<'_>) {
    match task.value {
        "acpi" => ports::reset_by_acpi(),
        "cf9" => ports::reset_by_chipset(),
        "keyboard" => ports::reset_by_keyboard(),
        "triple" => start::triple_fault(0, 0),
        other => fail!("probe: reset={other}: acpi, cf9, keyboard and triple are known"),
    }
}

/// The mode `crash` crashes by `triple` (a broken interrupt descriptor table, which is not a
/// reset), `emulation` (an instruction that KVM cannot emulate), `fault` (an exception in the
/// guest), or `panic` (a Rust panic).
pub(super) fn crash(task: &Task<'_>) {
    match task.value {
        // Zeroes are descriptors that are not present.
        "triple" => start::triple_fault(0xfff, Region::take(0x1000, 16).address()),
        "emulation" => start::fail_emulation(NOWHERE),
        // The address is not canonical and causes a #GP.
        "fault" => match Region::outside(1 << 63, 8) {
            Some(nowhere) => nowhere.write(0, 0_u64),
            None => fail!("probe: the image is everywhere"),
        },
        "panic" => panic!("as told"),
        other => fail!("probe: crash={other}: triple, emulation, fault and panic are known"),
    }
}

/// The mode `hang` hangs with interrupts off: `halt` or `spin`.
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

/// The mode `noconsole` idles, and never looks for a console.
pub(super) fn noconsole(_: &Task<'_>) {
    report!("probe: idle");
    loop {
        start::halt_unless_more_than(start::total());
    }
}

/// The mode `serial=TEXT` prints a line on COM1.
pub(super) fn serial(task: &Task<'_>) {
    Serial.write(task.value.as_bytes());
    Serial.write(b"\n");
}
