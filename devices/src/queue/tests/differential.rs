//! Our ring beside the one of the crate virtio-queue, which others wrote: on legal rings of up to 32
//! entries, both take the same chains, write the same used entries, ask for the same notifications
//! and agree about interrupts. Both read the same descriptors and the same avail ring; each has a
//! used ring of its own. INDIRECT_DESC is always negotiated.
//!
//! Two differences are known, and left out. Without EVENT_IDX, virtio-queue ignores NO_INTERRUPT,
//! and it asks for an interrupt even if nothing has been used since the last one: so interrupts are
//! compared with EVENT_IDX alone.

use std::iter::Cycle;
use std::ops::RangeInclusive;

use proptest::prelude::*;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::testing::ring::{Desc, INDIRECT, NEXT};

mod steps;

use steps::{Offer, Step, step};

/// Where the used ring of virtio-queue lies: behind everything that [`Ring`] uses.
const THEIR_USED: u64 = Ring::BYTES;

/// Both rings, and the driver of both.
struct Pair {
    ours: Fixture,
    theirs: Queue,
    event_idx: bool,
    /// Descriptors of the queue's table that no chain has.
    free: Vec<u16>,
    /// The descriptors of each chain that the device has, by its head.
    taken: Vec<(u16, Vec<u16>)>,
    /// What the next buffers from the guest are filled with.
    bytes: Cycle<RangeInclusive<u8>>,
    /// Used entries since the last signal.
    unsignalled: u16,
}

impl Pair {
    fn new(size: u16, start: u16, event_idx: bool) -> Self {
        let features = if event_idx { RING_FEATURES } else { RING_FEATURES & !EVENT_IDX };
        let ours = Fixture::new(size, features).at(start);
        let mut theirs = Queue::new(size).unwrap();
        theirs.try_set_desc_table_address(GuestAddress(ours.ring.layout.descriptors)).unwrap();
        theirs.try_set_avail_ring_address(GuestAddress(ours.ring.layout.avail)).unwrap();
        theirs.try_set_used_ring_address(GuestAddress(THEIR_USED)).unwrap();
        theirs.set_next_avail(start);
        theirs.set_next_used(start);
        theirs.set_event_idx(event_idx);
        theirs.set_ready(true);
        assert!(theirs.is_valid(&ours.memory));
        let free = (0..size).collect();
        Self {
            ours,
            theirs,
            event_idx,
            free,
            taken: Vec::new(),
            bytes: (1..=251).cycle(),
            unsignalled: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Offer(offer) => self.offer(offer),
            Step::Serve { chains, percent } => self.serve(*chains, *percent),
            Step::Signal => self.signal(),
            Step::AskForNotification => {
                let ours = self.ours.queue.ask_for_notification(&self.ours.memory).unwrap();
                let theirs = self.theirs.enable_notification(&self.ours.memory).unwrap();
                assert_eq!(ours, theirs, "something is available");
            }
            Step::RefuseNotification => {
                self.ours.queue.refuse_notification(&self.ours.memory).unwrap();
                self.theirs.disable_notification(&self.ours.memory).unwrap();
            }
            Step::UsedEvent(distance) => {
                let event = self.ours.ring.used_seen.wrapping_add_signed(*distance);
                self.ours.ring.set_used_event(event);
            }
            Step::NoInterrupt(set) => {
                self.ours.ring.set_avail_flags(u16::from(*set && self.event_idx));
            }
        }
        assert_eq!(self.used_ring(self.ours.ring.layout.used), self.used_ring(THEIR_USED));
        let at = self.ours.queue.position();
        let theirs = (self.theirs.next_avail(), self.theirs.next_used());
        assert_eq!((at.next_avail, at.next_used), theirs, "positions");
    }

    fn used_ring(&self, address: u64) -> Vec<u8> {
        let mut bytes = vec![0; 6 + 8 * usize::from(self.ours.ring.layout.size)];
        self.ours.ring.read(address, &mut bytes);
        bytes
    }

    /// Make a chain, if there are descriptors for it.
    fn offer(&mut self, offer: &Offer) {
        let ring = &mut self.ours.ring;
        let mut descs = Vec::new();
        for length in &offer.from_guest {
            let bytes = self.bytes.by_ref().take(*length as usize).collect::<Vec<_>>();
            descs.push(ring.buffer(FromGuest(&bytes)));
        }
        descs.extend(offer.to_guest.iter().map(|length| ring.buffer(ToGuest(*length))));
        descs.truncate(ring.layout.size.into());
        let direct = offer.direct.unwrap_or(descs.len()).min(descs.len());
        let indirect = descs.split_off(direct);
        if !indirect.is_empty() {
            let entries = indirect.len() + offer.unused;
            let mut table = ring.buffer(ToGuest(16 * u32::try_from(entries).unwrap()));
            let mut places = (0..u16::try_from(entries).unwrap()).collect();
            let rest = offer.picks.iter().skip(12);
            let places = [vec![0], pick(&mut places, rest, indirect.len(), 1)].concat();
            chain(&indirect, &places, |index, desc| ring.set_desc_in(table.addr, index, desc));
            // The device must ignore WRITE in this descriptor (2.7.5.3.2).
            table.flags = if offer.writable_table { table.flags | INDIRECT } else { INDIRECT };
            descs.push(table);
        }
        if descs.is_empty() || descs.len() > self.free.len() {
            return;
        }
        let places = pick(&mut self.free, offer.picks.iter(), descs.len(), 0);
        chain(&descs, &places, |index, desc| ring.set_desc(index, desc));
        ring.publish(places[0]);
        self.taken.push((places[0], places));
    }

    /// Take chains with both, compare them, and use those that have been filled.
    fn serve(&mut self, most: usize, percent: usize) {
        let memory = self.ours.memory.clone();
        let (mut request, mut chains) = (Request::default(), Vec::new());
        while chains.len() < most {
            let found = self.ours.queue.pop_more(&memory, &mut request).unwrap();
            let theirs = self.theirs.pop_descriptor_chain(&memory);
            assert_eq!(found, theirs.is_some(), "a chain is available");
            let Some(theirs) = theirs else { break };
            chains.push(theirs);
        }
        if chains.is_empty() {
            return;
        }
        let mut bytes = vec![0; request.from_guest.len() as usize];
        request.from_guest.peek(&mut bytes);
        let theirs = chains.iter().cloned().flat_map(|chain| chain.readable());
        let theirs: Vec<u8> = theirs.flat_map(|desc| contents(&memory, desc)).collect();
        assert_eq!(bytes, theirs, "bytes from the guest");
        let theirs = chains.iter().cloned().flat_map(|chain| chain.writable());
        let theirs: u32 = theirs.map(|desc| desc.len()).sum();
        assert_eq!(request.to_guest.len(), theirs, "room");

        let room = request.to_guest.len() as usize;
        let answer: Vec<u8> = (1..=250).cycle().take(room * percent / 100).collect();
        assert_eq!(request.to_guest.put(&answer), answer.len());
        self.unsignalled += request.chains_for(request.to_guest.done());
        self.ours.queue.add_used(&memory, &mut request).unwrap();
        self.ours.queue.requeue(&mut request);
        self.use_theirs(&memory, chains, &answer);
        // Our ring signals by itself when a whole ring has been used.
        if self.unsignalled >= self.ours.ring.layout.size {
            self.compare_interrupts();
        }
        self.reclaim();
    }

    /// Have virtio-queue hand back the chains that `answer` fills, one at least. Our ring has
    /// written the answer, and it must lie where virtio-queue expects it.
    fn use_theirs(
        &mut self,
        memory: &Memory,
        chains: Vec<DescriptorChain<&Memory>>,
        answer: &[u8],
    ) {
        let mut rest = answer;
        for (number, chain) in chains.into_iter().enumerate() {
            if number > 0 && rest.is_empty() {
                self.theirs.go_to_previous_position();
                continue;
            }
            let head = chain.head_index();
            let before = rest.len();
            for desc in chain.writable() {
                let (part, after) = rest.split_at(rest.len().min(desc.len() as usize));
                assert_eq!(contents(memory, desc)[..part.len()], *part, "bytes to the guest");
                rest = after;
            }
            let length = u32::try_from(before - rest.len()).unwrap();
            self.theirs.add_used(memory, head, length).unwrap();
        }
        assert!(rest.is_empty(), "{} bytes have gone elsewhere", rest.len());
    }

    fn signal(&mut self) {
        if self.unsignalled > 0 || self.event_idx {
            self.ours.signal();
            self.compare_interrupts();
        }
    }

    fn compare_interrupts(&mut self) {
        let theirs = self.theirs.needs_notification(&self.ours.memory).unwrap();
        assert_eq!(self.ours.interrupted(), theirs, "an interrupt");
        self.unsignalled = 0;
    }

    /// The driver takes back the descriptors of used chains.
    fn reclaim(&mut self) {
        while let Some(used) = self.ours.ring.take_used() {
            let is_used = |(head, _): &(u16, _)| u32::from(*head) == used.id;
            let place = self.taken.iter().position(is_used).expect("a chain that was offered");
            self.free.extend(self.taken.remove(place).1);
        }
    }
}

/// Take `count` numbers out of `free`, but for the first `keep` of them and of the result.
fn pick<'a>(
    free: &mut Vec<u16>,
    mut picks: impl Iterator<Item = &'a usize>,
    count: usize,
    keep: usize,
) -> Vec<u16> {
    let mut pick = |_| {
        let range = free.len() - keep;
        free.swap_remove(keep + picks.next().unwrap() % range)
    };
    (keep..count).map(&mut pick).collect()
}

/// Chain `descs` and write them to these places of a table.
fn chain(descs: &[Desc], places: &[u16], write: impl Fn(u16, Desc)) {
    for (number, (desc, place)) in descs.iter().zip(places).enumerate() {
        let next = places.get(number + 1);
        let more = if next.is_some() { NEXT } else { 0 };
        let desc = Desc { flags: desc.flags | more, next: next.copied().unwrap_or(0), ..*desc };
        write(*place, desc);
    }
}

/// The bytes that a descriptor refers to.
fn contents(memory: &Memory, desc: Descriptor) -> Vec<u8> {
    let mut bytes = vec![0; desc.len() as usize];
    memory.read_slice(&mut bytes, desc.addr()).unwrap();
    bytes
}

proptest! {
    #[test]
    fn both_rings_do_the_same_on_every_legal_ring(
        power in 0..6_u32, start in prop_oneof![any::<u16>(), 65500..=u16::MAX], event_idx: bool, steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut pair = Pair::new(1 << power, start, event_idx);
        for step in &steps {
            pair.take(step);
        }
    }
}
