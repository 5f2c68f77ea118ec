//! How the two sides of a queue wake each other up, and spare each other what is
//! not wanted (virtio 1.2, 2.7.7, 2.7.10): by indices with EVENT_IDX, else by
//! flags.

use std::sync::atomic::{Ordering, fence};

use virtio_bindings::virtio_ring::{VRING_AVAIL_F_NO_INTERRUPT, VRING_USED_F_NO_NOTIFY};

use super::{ENTRIES, FLAGS, Virtqueue};
use crate::Memory;
use crate::error::GuestError;
use crate::number::u16_constant;

/// A value of `flags` in the used ring: the driver need not notify.
const NO_NOTIFY: u16 = u16_constant(VRING_USED_F_NO_NOTIFY);

impl Virtqueue {
    /// Interrupt the driver if there is something new that it wants to hear of
    /// (2.7.7.2, 2.7.10).
    ///
    /// # Errors
    /// None once the layout has been checked.
    pub fn signal(&mut self, memory: &Memory) -> Result<(), GuestError> {
        let (old, new) = (self.signalled, self.position.next_used);
        if old == new {
            return Ok(());
        }
        self.signalled = new;
        // The used index must be visible before we look whether anybody waits
        // for it; the driver does the same the other way round.
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

    /// Interrupt the driver.
    pub(super) fn interrupt(&self) {
        let begin = self.observer.interrupt_begins();
        self.interrupt.trigger();
        self.observer.interrupt_sent(begin);
    }

    /// About to sleep: have the driver notify us. True if something came
    /// meanwhile, and nobody need sleep.
    pub(super) fn ask_for_notification(&self, memory: &Memory) -> Result<bool, GuestError> {
        self.ask_for_notification_at(memory, self.position.next_avail)?;
        Ok(self.available(memory)? != 0)
    }

    /// Have the driver notify us when it fills the entry with this index.
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
        // A look at the ring from now on sees every request that came before the driver saw this.
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Awake: notifications would be noise. With EVENT_IDX the stale event
    /// index says so by itself.
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
