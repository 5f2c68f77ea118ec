//! The driver's side of a virtqueue, as the specification requires (virtio 1.2, 2.7.13, 2.7.14):
//! one buffer for each descriptor, no chains.

use core::sync::atomic::{Ordering, fence};

use crate::memory::Region;
use crate::ring::{Descriptor, NO_NOTIFY, Ring};

/// The most entries that are used, however many a device offers: `free` has this many bits.
const MOST: u16 = 64;

/// A queue and its buffers.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) ring: Ring,
    index: u16,
    buffers: Region,
    buffer_size: u32,
    doorbell: Option<Region>,
    event_idx: bool,
    /// A bit for each descriptor that the device does not have.
    free: u64,
    next_avail: u16,
    /// The avail index up to which the device has been notified.
    notified: u16,
    next_used: u16,
}

/// A buffer that the device has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) head: u16,
    pub(crate) length: u32,
}

impl Queue {
    /// Allocates queue `index` of a device that offers `offered` entries.
    pub(crate) fn new(index: u16, offered: u16, buffer_size: u32) -> Self {
        let size = offered.min(MOST);
        if !size.is_power_of_two() {
            fail!("probe: queue {index} offers {offered} entries");
        }
        Self {
            ring: Ring::new(size),
            index,
            buffers: Region::take(u64::from(size) * u64::from(buffer_size), 4096),
            buffer_size,
            doorbell: None,
            event_idx: false,
            free: 0,
            next_avail: 0,
            notified: 0,
            next_used: 0,
        }
    }

    /// Returns the number of the queue.
    pub(crate) fn index(&self) -> u16 {
        self.index
    }

    /// Clears the queue after a reset of the device.
    pub(crate) fn clear(&mut self, event_idx: bool) {
        self.ring.clear();
        self.event_idx = event_idx;
        self.free = u64::MAX >> (64 - self.ring.size());
        (self.next_avail, self.notified, self.next_used) = (0, 0, 0);
    }

    /// Sets the doorbell of the queue.
    pub(crate) fn set_doorbell(&mut self, doorbell: Region) {
        self.doorbell = Some(doorbell);
    }

    /// Returns a descriptor that the device does not have.
    pub(crate) fn free(&self) -> Option<u16> {
        let first = u16::try_from(self.free.trailing_zeros()).ok()?;
        (self.free != 0).then_some(first)
    }

    /// Whether the device has no buffer of this queue.
    pub(crate) fn is_idle(&self) -> bool {
        self.free.count_ones() == u32::from(self.ring.size())
    }

    /// Returns the buffer of a descriptor.
    pub(crate) fn buffer(&self, head: u16) -> Region {
        let size = u64::from(self.buffer_size);
        self.buffers.part(u64::from(head) * size, size)
    }

    /// Offers the first `length` bytes of a free descriptor's buffer.
    pub(crate) fn offer(&mut self, head: u16, length: u32, flags: u16) {
        let address = self.buffer(head).address();
        self.ring.set_descriptor(head, Descriptor { address, length, flags, next: 0 });
        self.ring.set_avail(self.next_avail, head);
        self.free &= !(1 << head);
        self.next_avail = self.next_avail.wrapping_add(1);
        // The entry must be visible before the index (2.7.13.3).
        fence(Ordering::Release);
        self.ring.set_avail_index(self.next_avail);
    }

    /// Offers the whole buffer of a descriptor.
    pub(crate) fn offer_all(&mut self, head: u16, flags: u16) {
        self.offer(head, self.buffer_size, flags);
    }

    /// Notifies the device of new buffers, unless it has suppressed that (2.7.13.4).
    pub(crate) fn notify(&mut self) {
        let (old, new) = (self.notified, self.next_avail);
        self.notified = new;
        // The index must be visible before we check whether the device wants a notification.
        fence(Ordering::SeqCst);
        let wanted = if self.event_idx {
            let event = self.ring.avail_event();
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.ring.used_flags() & NO_NOTIFY == 0
        };
        if let (true, Some(doorbell)) = (wanted && new != old, self.doorbell) {
            doorbell.write(0, self.index);
        }
    }

    /// Takes a used buffer back (2.7.14). `None` if the device has not used any; then it interrupts
    /// when it does.
    pub(crate) fn take_used(&mut self) -> Option<Used> {
        if self.ring.used_index() == self.next_used {
            self.ring.set_used_event(self.next_used);
            // The event must be set before we look again (2.7.14).
            fence(Ordering::SeqCst);
            if self.ring.used_index() == self.next_used {
                return None;
            }
        }
        fence(Ordering::Acquire);
        let (head, length) = self.ring.used(self.next_used);
        self.next_used = self.next_used.wrapping_add(1);
        let head = u16::try_from(head).ok().filter(|head| self.has_given(*head));
        let Some(head) = head.filter(|_| length <= self.buffer_size) else {
            let (head, length) = self.ring.used(self.next_used.wrapping_sub(1));
            fail!("probe: queue {}: used {head} length {length}, not ours", self.index)
        };
        self.free |= 1 << head;
        Some(Used { head, length })
    }

    fn has_given(&self, head: u16) -> bool {
        head < self.ring.size() && self.free & 1 << head == 0
    }
}
