//! `breakdowns` breaks every virtio device of the machine, one after the other, and starts again,
//! each time with another error message, until somebody ends the guest.

use crate::modes::Task;
use crate::virtio::{F_VERSION_1, Virtio, offset};

/// An address without memory, to which a number is added.
const NOWHERE: u64 = 0xffff_0000_0000_0000;
/// The distance of the addresses, which keeps rings aligned.
const STEP: u64 = 4096;

/// The mode `breakdowns`.
pub(in crate::modes) fn breakdowns(_: &Task<'_>) {
    for turn in (0..1 << 20).cycle() {
        for (_, device) in Virtio::all() {
            device.negotiate(F_VERSION_1);
            device.common.write(offset::QUEUE_SELECT, 0_u16);
            for ring in [offset::QUEUE_DESC, offset::QUEUE_DRIVER, offset::QUEUE_DEVICE] {
                device.set_address(ring, NOWHERE + turn * STEP);
            }
            device.common.write(offset::QUEUE_ENABLE, 1_u16);
            device.driver_ok();
        }
    }
}
