//! What the end of a queue thread means for its device.

use crate::error::GuestError;
use crate::queue_thread::Owner;
use crate::status::DeviceStatus;

impl Owner for DeviceStatus {
    fn needs_reset(&self, thread: &str, error: &GuestError) {
        self.mark_needs_reset(thread, error);
    }

    /// A change of the configuration that the driver was notified of earlier is lost:
    /// Linux reads the window's size only from now on.
    fn driver_ready(&self) {
        self.interrupt_config();
    }

    fn failed(&self, thread: &str, why: &str) {
        self.end_machine(thread, why);
    }
}
