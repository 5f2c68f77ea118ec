//! Tests of the running queue, alone: no device, no thread. "Sleeping" shows as
//! an error here, because the doorbell of these tests does not block.

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::{QueueLayout, QueuePosition, RING_FEATURES, Virtqueue};
use crate::Memory;
use crate::error::{GuestError, ServeError};
use crate::interrupt::Interrupt;
use crate::request::Request;
use crate::stop::StopFlag;
use crate::testing::memory;
use crate::testing::ring::Part::{FromGuest, ToGuest};
use crate::testing::ring::{Ring, Used};

mod differential;
mod gather;
mod hostile;
mod layout;
mod legal;
mod notify;
mod properties;

const EVENT_IDX: u64 = 1 << 29;
const INDIRECT_DESC: u64 = 1 << 28;

/// A queue, its driver, and the two eventfds between them.
struct Fixture {
    memory: Memory,
    ring: Ring,
    queue: Virtqueue,
    doorbell: Arc<EventFd>,
    interrupt: Arc<EventFd>,
}

/// A chain as a service sees it.
#[derive(Debug, PartialEq, Eq)]
struct PoppedChain {
    head: u16,
    from_guest: Vec<u8>,
    to_guest: u32,
}

impl Fixture {
    fn new(size: u16, features: u64) -> Self {
        Self::over(memory(), size, features)
    }

    fn over(memory: Memory, size: u16, features: u64) -> Self {
        let ring = Ring::new(&memory, 0, size);
        let event = || Arc::new(EventFd::new(libc::EFD_NONBLOCK).unwrap());
        let (doorbell, interrupt) = (event(), event());
        let bell = Arc::clone(&doorbell);
        let signal = Interrupt::new(Some(Arc::clone(&interrupt)));
        let queue = Virtqueue::new(ring.layout, &memory, features, bell, signal).unwrap();
        Self { memory, ring, queue, doorbell, interrupt }
    }

    /// Puts both sides to the state after `index` requests.
    fn at(mut self, index: u16) -> Self {
        self.queue.position = QueuePosition { next_avail: index, next_used: index };
        self.queue.signalled = index;
        (self.ring.avail_index, self.ring.used_seen) = (index, index);
        self.ring.set_avail_index(index);
        self.ring.set_used_event(index);
        self
    }

    fn pop(&mut self) -> Result<Option<PoppedChain>, GuestError> {
        let mut request = Request::default();
        let found = self.queue.pop(&self.memory, &mut request)?;
        let mut from_guest = vec![0; request.from_guest.len().min(1000).try_into().unwrap()];
        request.from_guest.peek(&mut from_guest);
        let to_guest = request.to_guest.len();
        let head = request.used().next().map_or(0, |(head, _)| head);
        Ok(found.then_some(PoppedChain { head, from_guest, to_guest }))
    }

    /// Take the next request and hand it back with `answer`.
    fn serve(&mut self, answer: &[u8]) {
        let mut request = Request::default();
        assert!(self.queue.pop(&self.memory, &mut request).unwrap());
        request.to_guest.put(answer);
        self.queue.add_used(&self.memory, &mut request).unwrap();
    }

    fn signal(&mut self) {
        self.queue.signal(&self.memory).unwrap();
    }

    fn interrupted(&self) -> bool {
        self.interrupt.read().is_ok()
    }

    /// Whether the thread would have gone to sleep instead of finding a request.
    fn sleeps(&mut self) -> bool {
        let stop = StopFlag::default();
        let mut request = Request::default();
        match self.queue.wait_for_request(&self.memory, &mut request, &stop) {
            Ok(()) => false,
            Err(ServeError::Host(error)) => error.kind() == std::io::ErrorKind::WouldBlock,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A vCPU that rings without offering anything keeps the thread from sleeping.
#[test]
fn a_doorbell_that_rings_for_nothing_does_not_hold_up_a_stop() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    let (stop, mut request) = (StopFlag::default(), Request::default());
    stop.set();
    fixture.doorbell.write(1).unwrap();
    let ended = fixture.queue.wait_for_request(&fixture.memory, &mut request, &stop);
    assert!(matches!(ended, Err(ServeError::Interrupted)), "{ended:?}");
}

#[test]
fn an_empty_ring_has_no_request() {
    assert_eq!(Fixture::new(8, RING_FEATURES).pop(), Ok(None));
}

#[test]
fn requests_come_in_the_order_of_the_avail_ring() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    let first = fixture.ring.offer(&[FromGuest(b"one"), FromGuest(b" two"), ToGuest(3)]);
    let second = fixture.ring.offer(&[ToGuest(5), ToGuest(6)]);

    let chain = PoppedChain { head: first, from_guest: b"one two".into(), to_guest: 3 };
    assert_eq!(fixture.pop(), Ok(Some(chain)));
    let chain = PoppedChain { head: second, from_guest: vec![], to_guest: 11 };
    assert_eq!(fixture.pop(), Ok(Some(chain)));
    assert_eq!(fixture.pop(), Ok(None));
}

#[test]
fn used_entries_have_head_and_length() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    fixture.ring.offer(&[FromGuest(b"gap")]);
    let head = fixture.ring.offer(&[FromGuest(b"ask"), ToGuest(2), ToGuest(100)]);

    fixture.serve(b"");
    fixture.serve(b"four");

    assert_eq!(fixture.ring.take_used(), Some(Used { id: 0, len: 0 }));
    assert_eq!(fixture.ring.take_used(), Some(Used { id: head.into(), len: 4 }));
    assert_eq!(fixture.ring.take_used(), None);
    assert_eq!(fixture.ring.bytes(head)[..5], *b"four\0");
}

#[test]
fn indices_wrap_at_65535() {
    let mut fixture = Fixture::new(4, RING_FEATURES).at(65533);

    for round in 0..7_u8 {
        let head = fixture.ring.offer(&[FromGuest(&[round]), ToGuest(1)]);
        fixture.serve(&[round]);
        assert_eq!(fixture.ring.take_used(), Some(Used { id: head.into(), len: 1 }));
        assert_eq!(fixture.ring.bytes(head), [round]);
    }

    assert_eq!(fixture.queue.position(), QueuePosition { next_avail: 4, next_used: 4 });
    assert_eq!(fixture.ring.used_index(), 4);
}

#[test]
fn a_queue_of_one_entry_works() {
    let mut fixture = Fixture::new(1, RING_FEATURES).at(65535);

    for _ in 0..3 {
        fixture.ring.offer(&[ToGuest(4)]);
        fixture.serve(b"lone");
        assert_eq!(fixture.ring.take_used(), Some(Used { id: 0, len: 4 }));
    }

    assert_eq!(fixture.pop(), Ok(None));
}

#[test]
fn a_full_ring_of_the_largest_size_is_served() {
    let mut fixture = Fixture::new(32768, RING_FEATURES).at(40_000);
    for _ in 0..32768 {
        fixture.ring.offer(&[ToGuest(1)]);
    }

    for _ in 0..32768 {
        fixture.serve(b"x");
    }

    assert_eq!(fixture.pop(), Ok(None));
    assert_eq!(fixture.ring.used_index(), 40_000_u16.wrapping_add(32768));
}

#[test]
fn a_request_that_was_put_back_is_found_again() {
    let mut fixture = Fixture::new(8, RING_FEATURES).at(65535);
    let head = fixture.ring.offer(&[FromGuest(b"once more")]);
    let mut request = Request::default();
    assert!(fixture.queue.pop(&fixture.memory, &mut request).unwrap());

    fixture.queue.requeue(&mut request);

    assert_eq!(fixture.queue.position(), QueuePosition { next_avail: 65535, next_used: 65535 });
    assert_eq!(fixture.pop().unwrap().map(|chain| chain.head), Some(head));
}

/// The device counts for itself: what the guest writes into the used ring is its own loss.
#[test]
fn the_used_ring_is_only_written() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    fixture.ring.offer(&[ToGuest(1)]);
    fixture.ring.write(fixture.ring.layout.used, &[0xff; 6 + 8 * 8]);

    fixture.serve(b"a");

    assert_eq!(fixture.ring.used_index(), 1);
    assert_eq!(fixture.ring.used_entry(0), Used { id: 0, len: 1 });
}

/// The copy that was checked is used, although the guest rewrites the descriptor meanwhile.
#[test]
fn a_descriptor_is_read_once() {
    let mut fixture = Fixture::new(8, RING_FEATURES);
    fixture.ring.offer(&[FromGuest(b"as checked")]);
    let (mut request, mut bytes) = (Request::default(), [0; 64]);
    assert!(fixture.queue.pop(&fixture.memory, &mut request).unwrap());

    fixture.ring.write(fixture.ring.layout.descriptors, &[0xff; 16 * 8]);

    assert_eq!(request.from_guest.peek(&mut bytes), 10);
    assert_eq!(&bytes[..10], b"as checked");
}
