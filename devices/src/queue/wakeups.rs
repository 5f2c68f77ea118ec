//! Interrupts and notifications of a queue, and their suppression (virtio 1.2, 2.7.7,
//! 2.7.10): by indices with EVENT_IDX, else by flags.

use std::sync::atomic::{Ordering, fence};

use virtio_bindings::virtio_ring::{VRING_AVAIL_F_NO_INTERRUPT, VRING_USED_F_NO_NOTIFY};

use super::{ENTRIES, FLAGS, Virtqueue};
use crate::Memory;
use crate::error::GuestError;
use crate::number::u16_constant;

/// A value of `flags` in the used ring: the driver need not notify.
const NO_NOTIFY: u16 = u16_constant(VRING_USED_F_NO_NOTIFY);

impl Virtqueue {
    /// Interrupts the driver if there are new used entries and it has asked for an interrupt
    /// (2.7.7.2, 2.7.10).
    ///
    /// # Errors
    /// When a ring is not in RAM, which [`Self::new`] has checked.
    pub fn signal(&mut self, memory: &Memory) -> Result<(), GuestError> {
        let (old, new) = (self.signalled, self.position.next_used);
        if old == new {
            return Ok(());
        }
        self.signalled = new;
        // The used index must be visible before we look whether the driver waits for it.
        // The driver says that it waits before it looks at the used index.
        fence(Ordering::SeqCst);
        let wanted = if self.event_idx {
            let used_event = self.layout.avail + ENTRIES + 2 * u64::from(self.layout.size);
            let event = self.load(memory, used_event, Ordering::Relaxed)?;
            passed(event, new, old)
        } else {
            let flags = self.load(memory, self.layout.avail + FLAGS, Ordering::Relaxed)?;
            u32::from(flags) & VRING_AVAIL_F_NO_INTERRUPT == 0
        };
        if wanted && self.interrupt.is_wired() {
            self.interrupt();
        } else {
            self.observer.suppressed();
        }
        Ok(())
    }

    /// Sends the interrupt to the driver.
    pub(super) fn interrupt(&self) {
        let begin = self.observer.interrupt_begins();
        self.interrupt.trigger();
        self.observer.interrupt_sent(begin);
    }

    /// Asks the driver for a notification before the thread sleeps. Returns true if a chain
    /// has been offered meanwhile: then the thread must not sleep.
    pub(super) fn ask_for_notification(&self, memory: &Memory) -> Result<bool, GuestError> {
        self.ask_for_notification_at(memory, self.position.next_avail)?;
        Ok(self.available(memory)? != 0)
    }

    /// Asks the driver for a notification when it offers the chain with this index.
    pub(super) fn ask_for_notification_at(
        &self,
        memory: &Memory,
        index: u16,
    ) -> Result<(), GuestError> {
        if self.event_idx {
            let avail_event = self.layout.used + ENTRIES + 8 * u64::from(self.layout.size);
            self.store(memory, avail_event, index)?;
        } else {
            self.store(memory, self.layout.used + FLAGS, 0)?;
        }
        // The driver notifies of every chain that a look at the ring from now on misses.
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Suppresses notifications while the thread is awake. With EVENT_IDX, an event index
    /// that has passed suppresses them already.
    pub(super) fn refuse_notification(&self, memory: &Memory) -> Result<(), GuestError> {
        if self.event_idx {
            return Ok(());
        }
        self.store(memory, self.layout.used + FLAGS, NO_NOTIFY)
    }
}

/// Whether an index that moved from `old` to `new` went past `event` (2.7.10,
/// vring_need_event in Linux).
pub(super) fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
