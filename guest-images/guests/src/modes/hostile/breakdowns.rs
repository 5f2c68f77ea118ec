//! `breakdowns`: breaks every virtio device of the machine, one after the other, and again,
//! each time in other words, until somebody ends it.

use crate::modes::Task;
use crate::virtio::{F_VERSION_1, Virtio, offset};

/// An address without any memory, to which a number is added.
const NOWHERE: u64 = 0xffff_0000_0000_0000;
/// What the rings are aligned to, and more.
const STEP: u64 = 4096;

/// All attacks of this file.
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
