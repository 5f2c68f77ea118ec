//! The driver's side of requests: offer them, notify the device, and wait for the answer.

use super::machine::until;
use super::ring::{Part, Used};
use super::{BAR, FakeGuest};
use crate::sys;

impl FakeGuest {
    /// Makes a request and notifies the device. Returns the head of its chain.
    pub fn offer(&mut self, queue: usize, parts: &[Part<'_>]) -> u16 {
        let head = self.rings[queue].offer(parts);
        self.notify(queue);
        head
    }

    /// Notify through the doorbell that KVM would signal at this address. Without one the
    /// write comes to the device, which does not answer to it then.
    pub fn notify(&self, queue: usize) {
        let step = u64::try_from(queue).unwrap() * self.map.notify_step;
        let address = u64::from(BAR) + self.map.notify + step;
        let mut doorbells = self.device.doorbells().into_iter();
        let (_, doorbell) = doorbells.find(|(at, _)| *at == address).expect("no doorbell here");
        if self.machine.is_wired(address) {
            doorbell.write(1).unwrap();
        }
    }

    /// Whether the device has not answered a notification yet.
    pub fn is_ringing(&self, queue: usize) -> bool {
        let (_, doorbell) = self.device.doorbells().swap_remove(queue);
        sys::poll([sys::fd_of(&doorbell)], 0).unwrap() == [true]
    }

    /// Wait for the next used entry.
    pub fn wait_used(&mut self, queue: usize) -> Used {
        let ring = &mut self.rings[queue];
        let mut used = None;
        until("a used entry", || {
            used = ring.take_used();
            used.is_some()
        });
        used.unwrap()
    }

    /// What the device put into the room that a request gave.
    pub fn bytes(&self, queue: usize, head: u16) -> Vec<u8> {
        self.rings[queue].bytes(head)
    }

    /// Wait for the interrupt of a queue; they lead to lines in their order.
    pub fn wait_interrupt(&self, queue: u32) {
        self.machine.wait_interrupt(queue + 1);
    }

    /// Wait for the interrupt of the configuration.
    pub fn wait_config_interrupt(&self) {
        self.machine.wait_interrupt(0);
    }
}
