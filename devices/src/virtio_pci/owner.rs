//! The device's reactions to reports of its queue threads.

use crate::error::GuestError;
use crate::queue_thread::Owner;
use crate::status::DeviceStatus;

impl Owner for DeviceStatus {
    fn needs_reset(&self, thread: &str, error: &GuestError) {
        self.mark_needs_reset(thread, error);
    }

    /// Announces the configuration again: Linux reads the window's size only when its port
    /// is open, and ignores earlier changes.
    fn driver_ready(&self) {
        self.interrupt_config();
    }

    fn failed(&self, thread: &str, why: &str) {
        self.end_machine(thread, why);
    }
}
