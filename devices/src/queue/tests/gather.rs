//! Requests of as many chains as a piece of input may need.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::device::Input;
use crate::testing::machine::until;
use crate::testing::ring::{Desc, INDIRECT, WRITE};

/// The largest piece of input.
const LARGEST: u32 = 10;

/// A queue with chains of this much room available, a request, and where its input comes from.
struct Gathering<'m> {
    fixture: Fixture,
    memory: &'m Memory,
    request: Request<'m>,
    tap: UnixDatagram,
    host: UnixDatagram,
}

impl<'m> Gathering<'m> {
    fn new(memory: &'m Memory, rooms: &[u32]) -> Self {
        let mut fixture = Fixture::over(memory.clone(), 8, RING_FEATURES).at(65533);
        for room in rooms {
            fixture.ring.offer(&[ToGuest(*room)]);
        }
        let (tap, host) = UnixDatagram::pair().unwrap();
        Self { fixture, memory, request: Request::default(), tap, host }
    }

    fn gather(&mut self) -> Result<usize, ServeError> {
        let input = Input { largest: LARGEST, from: self.tap.as_fd() };
        self.fixture.queue.gather(self.memory, &mut self.request, &input, &StopFlag::default())?;
        Ok(self.request.chains())
    }

    /// Fill `bytes` of the request, and hand back the chains that took.
    fn answer(&mut self, bytes: usize) -> Vec<(u32, u32)> {
        assert_eq!(self.request.to_guest.put(&vec![1; bytes]), bytes);
        self.fixture.queue.add_used(self.memory, &mut self.request).unwrap();
        let used = std::iter::from_fn(|| self.fixture.ring.take_used());
        used.map(|used| (used.id, used.len)).collect()
    }

    fn position(&self) -> (u16, u16) {
        let QueuePosition { next_avail, next_used } = self.fixture.queue.position();
        (next_avail, next_used)
    }
}

#[test]
fn a_request_gathers_as_many_chains_as_the_largest_piece_needs() {
    let memory = memory();
    let mut gathering = Gathering::new(&memory, &[4, 4, 4, 4]);

    assert_eq!(gathering.gather().unwrap(), 3);
    assert_eq!(gathering.position(), (0, 65533));
    assert_eq!(gathering.gather().unwrap(), 3);
}

#[test]
fn a_chain_that_is_large_enough_is_the_only_one() {
    let memory = memory();
    let mut gathering = Gathering::new(&memory, &[10, 10]);

    assert_eq!(gathering.gather().unwrap(), 1);
}

#[test]
fn filled_chains_go_back_together_and_the_others_are_used_next() {
    let memory = memory();
    let mut gathering = Gathering::new(&memory, &[4; 6]);

    gathering.gather().unwrap();
    assert_eq!(gathering.answer(9), [(0, 4), (1, 4), (2, 1)]);
    assert_eq!(gathering.gather().unwrap(), 3);
    assert_eq!(gathering.answer(1), [(3, 1)]);
    assert_eq!(gathering.position(), (3, 1));

    gathering.fixture.queue.requeue(&mut gathering.request);

    assert_eq!(gathering.position(), (1, 1));
    assert_eq!(gathering.fixture.pop().unwrap().unwrap().head, 4);
}

#[test]
fn little_room_is_used_when_there_is_input() {
    let memory = memory();
    let mut gathering = Gathering::new(&memory, &[4, 4]);
    gathering.host.send(b"small").unwrap();

    assert_eq!(gathering.gather().unwrap(), 2);

    // Meanwhile the device has asked the driver for a notification.
    assert_eq!(gathering.fixture.ring.avail_event(), 65535);
}

#[test]
fn little_room_grows_when_the_doorbell_rings_before_input_is_taken() {
    let memory = memory();
    let mut gathering = Gathering::new(&memory, &[4]);
    let (mut ring, host) = (gathering.fixture.ring.clone(), gathering.host.try_clone().unwrap());
    let bell = Arc::clone(&gathering.fixture.doorbell);
    std::thread::scope(|scope| {
        let driver = std::thread::Builder::new().spawn_scoped(scope, move || {
            until("a wish for room", || ring.avail_event() == 65534);
            ring.offer(&[ToGuest(4)]);
            bell.write(1).unwrap();
            until("a wish for more", || ring.avail_event() == 65535);
            host.send(b"small").unwrap();
        });
        assert_eq!(gathering.gather().unwrap(), 2);
        driver.unwrap().join().unwrap();
    });
}

#[test]
fn chains_without_any_room_are_not_waited_for() {
    let memory = memory();
    let mut gathering = Gathering::new(&memory, &[0, 0]);

    assert_eq!(gathering.gather().unwrap(), 2);

    assert_eq!(gathering.answer(0), [(0, 0)]);
}

/// A request takes as many chains as the ring has entries, even if they have little room
/// and the driver announces more.
#[test]
fn r20_a_request_has_no_more_chains_than_the_ring() {
    let memory = memory();
    let mut gathering = Gathering::new(&memory, &[1; 8]);
    gathering.host.send(b"small").unwrap();

    assert_eq!(gathering.gather().unwrap(), 8);
    for head in 0..8 {
        gathering.fixture.ring.publish(head);
    }
    assert_eq!(gathering.gather().unwrap(), 8);

    assert_eq!(gathering.answer(5).len(), 5);
}

/// 255 descriptors a chain: two chains are more than one readv takes.
#[test]
fn r17_a_request_has_no_more_buffers_than_a_call() {
    let memory = memory();
    let mut fixture = Fixture::over(memory.clone(), 256, RING_FEATURES);
    for index in 0..256 {
        let desc = Desc { addr: 0x30_0000, len: 1, flags: WRITE | 1, next: index + 1 };
        let last = Desc { flags: WRITE, ..desc };
        fixture.ring.set_desc_in(0x20_0000, index, if index == 255 { last } else { desc });
    }
    let table = Desc { addr: 0x20_0000, len: 4096, flags: INDIRECT, next: 0 };
    for head in 0..100 {
        fixture.ring.set_desc(head, table);
        fixture.ring.publish(head);
    }
    let (tap, _host) = UnixDatagram::pair().unwrap();
    let mut request = Request::default();

    let input = Input { largest: 100_000, from: tap.as_fd() };
    fixture.queue.gather(&memory, &mut request, &input, &StopFlag::default()).unwrap();

    assert_eq!((request.chains(), request.to_guest.len()), (4, 1024));
}

/// A malformed chain is not counted among those that are put back.
#[test]
fn a_bad_chain_after_a_good_one_is_the_guests_fault() {
    let memory = memory();
    let mut gathering = Gathering::new(&memory, &[4]);
    gathering.fixture.ring.publish(99);

    let error = gathering.gather().unwrap_err();
    assert!(matches!(error, ServeError::Guest(GuestError::DescriptorIndex { index: 99, .. })));
    gathering.fixture.queue.requeue(&mut gathering.request);

    assert_eq!(gathering.position(), (65533, 65533));
}

/// A buffer that belongs to two chains is filled twice.
#[test]
fn r19_chains_may_overlap() {
    let memory = memory();
    let mut gathering = Gathering::new(&memory, &[6]);
    gathering.fixture.ring.publish(0);

    assert_eq!(gathering.gather().unwrap(), 2);

    assert_eq!(gathering.answer(10), [(0, 6), (0, 4)]);
}
