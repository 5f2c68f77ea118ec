//! A running split virtqueue (virtio 1.2, 2.7): the device's side of the rings. A queue is
//! made at DRIVER_OK from a copy of the registers ([`QueueLayout`]), and belongs to one
//! thread ([`crate::queue_thread`]) until the reset. The driver's later writes to the
//! registers do not reach it. Only this module sleeps until the guest notifies, reads
//! rings, and decides about interrupts.

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
mod state;
mod wakeups;

pub use layout::{QueueLayout, QueuePosition};
pub use probe::DriverReadiness;
pub use state::VirtqueueState;

/// Feature bits of the ring, which every device offers.
pub const RING_FEATURES: u64 =
    1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC | 1 << VIRTIO_RING_F_EVENT_IDX;

/// A running virtqueue: its rings, its doorbell and its interrupt.
#[derive(Debug)]
pub struct Virtqueue {
    layout: QueueLayout,
    position: QueuePosition,
    /// Used entries up to this index have been signalled, or needed no interrupt.
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
    /// A queue that the driver has enabled; nothing has been served yet.
    ///
    /// # Errors
    /// When the size is illegal, or a ring is misaligned or not in RAM.
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

    /// The queue with this observer.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// The queue's observer.
    pub(crate) fn observer(&self) -> &Arc<Observer> {
        &self.observer
    }

    /// How far the queue has been served.
    #[must_use]
    pub fn position(&self) -> QueuePosition {
        self.position
    }

    /// Takes the next request, unless `request` still has chains. Sleeps on the doorbell
    /// until there is one, and before that signals the requests that have been used.
    ///
    /// # Errors
    /// The guest's errors, or [`ServeError::Interrupted`] if the thread has to stop.
    pub fn wait_for_request<'m>(
        &mut self,
        memory: &'m Memory,
        request: &mut Request<'m>,
        stop: &StopFlag,
    ) -> Result<(), ServeError> {
        while request.chains() == 0 && !self.pop(memory, request)? {
            self.signal(memory)?;
            if self.ask_for_notification(memory)? {
                continue;
            }
            self.sleep(stop)?;
            self.refuse_notification(memory)?;
            // A vCPU that rings without offering anything keeps the thread from sleeping, and
            // signals only reach a sleeper.
            if stop.is_set() {
                return Err(ServeError::Interrupted);
            }
        }
        Ok(())
    }

    /// Sleeps until the doorbell rings or the thread has to stop. A request to stop comes
    /// with a signal, which is repeated in case it came just before the read
    /// ([`crate::kick`]).
    fn sleep(&self, stop: &StopFlag) -> Result<(), ServeError> {
        loop {
            match self.answer_doorbell().map_err(ServeError::from) {
                Ok(()) => return Ok(()),
                Err(ServeError::Interrupted) if !stop.is_set() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the doorbell. Sleeps unless it has rung.
    fn answer_doorbell(&self) -> io::Result<()> {
        sys::wait(&self.doorbell)?;
        self.observer.kicked();
        Ok(())
    }

    /// Takes the next request off the avail ring. Returns false if the ring is empty.
    ///
    /// # Errors
    /// When the ring or the chain violates the specification.
    pub fn pop<'m>(
        &mut self,
        memory: &'m Memory,
        request: &mut Request<'m>,
    ) -> Result<bool, GuestError> {
        request.clear();
        self.pop_more(memory, request)
    }

    /// Adds the next chain of the avail ring to `request`. Returns false if the ring is
    /// empty.
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

    /// Returns how many chains the driver has offered that have not been taken.
    fn available(&self, memory: &Memory) -> Result<u16, GuestError> {
        let (from, size) = (self.position.next_avail, self.layout.size);
        let to = self.load(memory, self.layout.avail + INDEX, Ordering::Acquire)?;
        match to.wrapping_sub(from) {
            ahead if ahead > size => Err(GuestError::AvailIndex { from, to, size }),
            ahead => Ok(ahead),
        }
    }

    /// Puts back the chains of a request that have not been used. A thread that starts at
    /// [`Self::position`] takes them again.
    pub fn requeue(&mut self, request: &mut Request<'_>) {
        // No more than entries in the ring, see `gather`.
        let count = low_u16(request.chains() as u64);
        self.position.next_avail = self.position.next_avail.wrapping_sub(count);
        request.clear();
    }

    /// Hands the filled chains of a request back to the driver (2.7.8.2). The driver sees
    /// all of them at once, because they belong together (5.1.6.4). The interrupt is left
    /// to [`Self::signal`], unless a whole ring has been used since the last one. Returns
    /// the bytes that the request moved: from the guest and to the guest.
    ///
    /// # Errors
    /// When a ring is not in RAM, which [`Self::new`] has checked.
    pub fn add_used(
        &mut self,
        memory: &Memory,
        request: &mut Request<'_>,
    ) -> Result<[u64; 2], GuestError> {
        let moved = self.observer.used(request);
        self.hand_back(memory, request).map(|()| moved)
    }

    /// Hands the filled chains back without counting them as a served request.
    fn hand_back(&mut self, memory: &Memory, request: &mut Request<'_>) -> Result<(), GuestError> {
        let ring = |_| GuestError::Ring { ring: "used ring", address: self.layout.used };
        let mut next = self.position.next_used;
        for (head, length) in request.used() {
            let entry = self.layout.used + ENTRIES + 8 * self.slot(next);
            let element = [u32::from(head).to_le(), length.to_le()];
            memory.write_obj(element, GuestAddress(entry)).map_err(ring)?;
            next = next.wrapping_add(1);
        }
        // Release: the driver sees the elements and the service's bytes before the index.
        let address = GuestAddress(self.layout.used + INDEX);
        memory.store(next.to_le(), address, Ordering::Release).map_err(ring)?;
        self.position.next_used = next;
        request.retire();
        // With a driver that polls, the thread may never sleep. If the index lapped
        // `signalled`, an interrupt that the driver asks for later would be lost.
        if next.wrapping_sub(self.signalled) >= self.layout.size {
            self.signal(memory)?;
        }
        Ok(())
    }

    /// Returns the entry of a ring for an index, which counts modulo 2^16.
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
