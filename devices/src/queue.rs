//! A running split virtqueue (virtio 1.2, 2.7): the device's side of the rings.
//! It is made at DRIVER_OK from a copy of what the driver wrote into the
//! registers ([`QueueLayout`]) and belongs to one thread
//! ([`crate::queue_thread`]) until the reset; nothing the driver writes to the
//! transport afterwards can reach it. This is the only place that sleeps for
//! the guest, reads rings, and decides about interrupts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

use crate::Memory;
use crate::error::{GuestError, ServeError};
use crate::interrupt::Interrupt;
use crate::number::low_u16;
use crate::observer::Observer;
use crate::request::Request;
use crate::stop::StopFlag;
use crate::sys;

mod chain;
mod gather;
mod layout;
mod probe;
mod wakeups;

pub use layout::{QueueLayout, QueuePosition};
pub use probe::DriverReadiness;

/// Feature bits that the queue itself brings to every device.
pub const RING_FEATURES: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC | 1 << VIRTIO_RING_F_EVENT_IDX;

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
    observer: Arc<Observer>,
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
            observer: Arc::default(),
        })
    }

    /// Have this one watch.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Who watches.
    pub(crate) fn observer(&self) -> &Arc<Observer> {
        &self.observer
    }

    /// How far the queue has been served.
    #[must_use]
    pub fn position(&self) -> QueuePosition {
        self.position
    }

    /// The next request, unless `request` still has chains; sleeps on the
    /// doorbell until there is one. Since it is about to sleep, now is a good
    /// time to tell the guest what was used.
    ///
    /// # Errors
    /// The guest's errors, or [`ServeError::Interrupted`] once the thread is to stop.
    pub fn wait_for_request<'m>(
        &mut self,
        memory: &'m Memory,
        request: &mut Request<'m>,
        stop: &StopFlag,
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
    fn sleep(&self, stop: &StopFlag) -> Result<(), ServeError> {
        loop {
            match self.answer_doorbell().map_err(ServeError::from) {
                Ok(()) => return Ok(()),
                Err(ServeError::Interrupted) if !stop.is_set() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Read the doorbell; sleeps unless it has rung.
    fn answer_doorbell(&self) -> io::Result<()> {
        sys::wait(&self.doorbell)?;
        self.observer.kicked();
        Ok(())
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
    pub fn requeue(&mut self, request: &mut Request<'_>) {
        let count = low_u16(request.chains() as u64);
        self.position.next_avail = self.position.next_avail.wrapping_sub(count);
        request.clear();
    }

    /// Hand what has been filled of a request back to the driver (2.7.8.2), all
    /// at once: it never sees a part of what belongs together (5.1.6.4). It is
    /// told by [`Self::signal`], at the latest when the whole ring has been used. The
    /// bytes that the request had from the guest and to it.
    ///
    /// # Errors
    /// None once the layout has been checked.
    pub fn add_used(
        &mut self,
        memory: &Memory,
        request: &mut Request<'_>,
    ) -> Result<[u64; 2], GuestError> {
        let moved = self.observer.used(request);
        self.hand_back(memory, request).map(|()| moved)
    }

    /// Hand a chain back without counting it as a served request.
    fn hand_back(&mut self, memory: &Memory, request: &mut Request<'_>) -> Result<(), GuestError> {
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

#[cfg(test)]
mod tests;
