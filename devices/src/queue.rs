//! A running split virtqueue (virtio 1.2, 2.7): the device's side of the rings.
//! It is made at DRIVER_OK from a copy of what the driver wrote into the
//! registers ([`QueueLayout`]) and belongs to one thread
//! ([`crate::queue_thread`]) until the reset; nothing the driver writes to the
//! transport afterwards can reach it. This is the only place that sleeps for
//! the guest, reads rings, and decides about interrupts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC, VRING_AVAIL_F_NO_INTERRUPT,
    VRING_USED_F_NO_NOTIFY,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};
use vmm_sys_util::eventfd::EventFd;

use crate::Memory;
use crate::error::{GuestError, ServeError};
use crate::interrupt::Interrupt;
use crate::request::Request;
use crate::sys;

mod chain;
mod gather;
mod knock;

/// Feature bits that the queue itself brings to every device.
pub const RING_FEATURES: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC | 1 << VIRTIO_RING_F_EVENT_IDX;

/// Where the driver put a queue, as written into the transport's registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueLayout {
    /// Entries; a power of two.
    pub size: u16,
    /// Guest physical address of the descriptor table.
    pub descriptors: u64,
    /// Guest physical address of the avail ring ("driver area").
    pub avail: u64,
    /// Guest physical address of the used ring ("device area").
    pub used: u64,
}

impl QueueLayout {
    /// Everything later accesses rely on: a legal size, aligned rings (2.7.1),
    /// each wholly in RAM.
    fn check(&self, memory: &Memory) -> Result<(), GuestError> {
        if !self.size.is_power_of_two() || self.size > 32768 {
            return Err(GuestError::QueueSize(self.size));
        }
        let size = usize::from(self.size);
        let parts = [
            ("descriptor table", self.descriptors, 16, 16 * size),
            ("avail ring", self.avail, 2, 6 + 2 * size),
            ("used ring", self.used, 4, 6 + 8 * size),
        ];
        for (ring, address, align, length) in parts {
            let in_ram = memory.get_slice(GuestAddress(address), length).is_ok();
            if !address.is_multiple_of(align) || !in_ram {
                return Err(GuestError::Ring { ring, address });
            }
        }
        Ok(())
    }
}

/// How far a queue has been served: all that is needed to go on from there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueuePosition {
    /// Next entry of the avail ring to take.
    pub next_avail: u16,
    /// Next entry of the used ring to fill.
    pub next_used: u16,
}

/// The rings, and how the two sides wake each other up.
#[derive(Debug)]
pub struct Virtqueue {
    layout: QueueLayout,
    position: QueuePosition,
    /// Used entries up to here have been signalled, or needed no signal.
    signalled: u16,
    indirect: bool,
    event_idx: bool,
    doorbell: Arc<EventFd>,
    interrupt: Interrupt,
}

/// Offsets in both rings: flags, index, then the entries (2.7.6, 2.7.8).
const FLAGS: u64 = 0;
const INDEX: u64 = 2;
const ENTRIES: u64 = 4;

impl Virtqueue {
    /// Take over a queue that the driver has enabled.
    ///
    /// # Errors
    /// When the layout is not one that a ring can have.
    pub fn new(
        layout: QueueLayout,
        memory: &Memory,
        accepted: u64,
        doorbell: Arc<EventFd>,
        interrupt: Interrupt,
    ) -> Result<Self, GuestError> {
        layout.check(memory)?;
        Ok(Self {
            layout,
            position: QueuePosition::default(),
            signalled: 0,
            indirect: accepted & (1 << VIRTIO_RING_F_INDIRECT_DESC) != 0,
            event_idx: accepted & (1 << VIRTIO_RING_F_EVENT_IDX) != 0,
            doorbell,
            interrupt,
        })
    }

    /// How far the queue has been served.
    #[must_use]
    pub fn position(&self) -> QueuePosition {
        self.position
    }

    /// The next request, unless `request` still has chains; sleeps on the
    /// doorbell while there is none. Since it is about to sleep, now is a good
    /// time to tell the guest what was used.
    ///
    /// # Errors
    /// The guest's errors, or [`ServeError::Interrupted`] once `stop` is set.
    pub fn wait_for_request<'m>(
        &mut self,
        memory: &'m Memory,
        request: &mut Request<'m>,
        stop: &AtomicBool,
    ) -> Result<(), ServeError> {
        while request.chains() == 0 && !self.pop(memory, request)? {
            self.signal(memory)?;
            if !self.ask_for_notification(memory)? {
                self.sleep(stop)?;
                self.refuse_notification(memory)?;
            }
        }
        Ok(())
    }

    /// Until the doorbell rings, or the thread is to stop; that comes as a
    /// signal, which is sent again if it came just before the read ([`crate::kick`]).
    fn sleep(&self, stop: &AtomicBool) -> Result<(), ServeError> {
        loop {
            match sys::wait(&self.doorbell).map_err(ServeError::from) {
                Ok(_) => return Ok(()),
                Err(ServeError::Interrupted) if !stop.load(Ordering::Acquire) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Take the next request off the avail ring, if there is one.
    ///
    /// # Errors
    /// When the ring or the chain is not as the specification says.
    pub fn pop<'m>(
        &mut self,
        memory: &'m Memory,
        request: &mut Request<'m>,
    ) -> Result<bool, GuestError> {
        request.clear();
        self.pop_more(memory, request)
    }

    /// Add the next chain of the avail ring to `request`, if there is one.
    fn pop_more<'m>(
        &mut self,
        memory: &'m Memory,
        request: &mut Request<'m>,
    ) -> Result<bool, GuestError> {
        if self.available(memory)? == 0 {
            return Ok(false);
        }
        let next = self.position.next_avail;
        let entry = self.layout.avail + ENTRIES + 2 * self.slot(next);
        let head = self.load(memory, entry, Ordering::Relaxed)?;
        let walked = chain::walk(memory, &self.layout, self.indirect, head, request);
        walked.inspect_err(|_| request.forget_chain())?;
        self.position.next_avail = next.wrapping_add(1);
        Ok(true)
    }

    /// How many requests are waiting. There can be no more than entries.
    fn available(&self, memory: &Memory) -> Result<u16, GuestError> {
        let (from, size) = (self.position.next_avail, self.layout.size);
        let to = self.load(memory, self.layout.avail + INDEX, Ordering::Acquire)?;
        match to.wrapping_sub(from) {
            ahead if ahead > size => Err(GuestError::AvailIndex { from, to, size }),
            ahead => Ok(ahead),
        }
    }

    /// Put back what was taken and not used: it is found again after a restart
    /// from [`Self::position`].
    pub fn put_back(&mut self, request: &mut Request<'_>) {
        // No more than entries in the ring, see `gather`.
        let count = u16::try_from(request.chains()).unwrap_or(u16::MAX);
        self.position.next_avail = self.position.next_avail.wrapping_sub(count);
        request.clear();
    }

    /// Hand what has been filled of a request back to the driver (2.7.8.2), all
    /// at once: it never sees a part of what belongs together (5.1.6.4). It is
    /// told by [`Self::signal`], at the latest when the whole ring has been used.
    ///
    /// # Errors
    /// None once the layout has been checked.
    pub fn add_used(
        &mut self,
        memory: &Memory,
        request: &mut Request<'_>,
    ) -> Result<(), GuestError> {
        let ring = |_| GuestError::Ring { ring: "used ring", address: self.layout.used };
        let mut next = self.position.next_used;
        for (head, length) in request.used() {
            let entry = self.layout.used + ENTRIES + 8 * self.slot(next);
            let element = [u32::from(head).to_le(), length.to_le()];
            memory.write_obj(element, GuestAddress(entry)).map_err(ring)?;
            next = next.wrapping_add(1);
        }
        // Release: the elements, and what the service wrote, are seen before the index.
        let address = GuestAddress(self.layout.used + INDEX);
        memory.store(next.to_le(), address, Ordering::Release).map_err(ring)?;
        self.position.next_used = next;
        request.retire();
        // A driver that polls may never let us sleep; if the index lapped
        // `signalled`, the interrupt that it asks for later would be lost.
        if next.wrapping_sub(self.signalled) >= self.layout.size {
            self.signal(memory)?;
        }
        Ok(())
    }

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
        if wanted {
            self.interrupt.trigger();
        }
        Ok(())
    }

    /// About to sleep: have the driver notify us. True if something came
    /// meanwhile, and nobody need sleep.
    fn ask_for_notification(&self, memory: &Memory) -> Result<bool, GuestError> {
        self.ask_for_notification_at(memory, self.position.next_avail)?;
        Ok(self.available(memory)? != 0)
    }

    /// Have the driver notify us when it fills the entry with this index.
    fn ask_for_notification_at(&self, memory: &Memory, index: u16) -> Result<(), GuestError> {
        if self.event_idx {
            let avail_event = self.layout.used + ENTRIES + 8 * u64::from(self.layout.size);
            self.store(memory, avail_event, index)?;
        } else {
            self.store(memory, self.layout.used + FLAGS, 0)?;
        }
        // Whoever looks at the ring now sees what came before the driver knew.
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// Awake: notifications would be noise. With EVENT_IDX the stale event
    /// index says so by itself.
    fn refuse_notification(&self, memory: &Memory) -> Result<(), GuestError> {
        if self.event_idx {
            return Ok(());
        }
        let no_notify = u16::try_from(VRING_USED_F_NO_NOTIFY).unwrap_or(1);
        self.store(memory, self.layout.used + FLAGS, no_notify)
    }

    /// Which entry of a ring an ever-growing index means.
    fn slot(&self, index: u16) -> u64 {
        u64::from(index & (self.layout.size - 1))
    }

    fn load(&self, memory: &Memory, address: u64, order: Ordering) -> Result<u16, GuestError> {
        let value = memory.load::<u16>(GuestAddress(address), order);
        value.map(u16::from_le).map_err(|_| GuestError::Ring { ring: "ring", address })
    }

    fn store(&self, memory: &Memory, address: u64, value: u16) -> Result<(), GuestError> {
        let done = memory.store(value.to_le(), GuestAddress(address), Ordering::Relaxed);
        done.map_err(|_| GuestError::Ring { ring: "used ring", address })
    }
}

/// Whether an index that moved from `old` to `new` went past `event` (2.7.10,
/// vring_need_event in Linux).
fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests;
