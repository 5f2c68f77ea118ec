//! Properties of the ring arithmetic, and of rings full of anything.

use proptest::prelude::*;

use super::*;
use crate::queue::wakeups::passed;
use crate::testing::RAM_END;
use crate::testing::ring::Desc;

/// A number near one of those where things go wrong.
fn near(edges: &'static [u64]) -> impl Strategy<Value = u64> {
    let close = (prop::sample::select(edges), -20_i64..20);
    prop_oneof![close.prop_map(|(edge, off)| edge.wrapping_add_signed(off)), any::<u64>()]
}

fn any_desc() -> impl Strategy<Value = Desc> {
    let addr = near(&[0, 0x1000, RAM_END, 1 << 32, u64::MAX, 0x30_0000]);
    let len = near(&[0, 16, 64, 128, RAM_END, u32::MAX as u64]);
    (addr, len, 0..8_u16, 0..10_u16).prop_map(|(addr, len, flags, next)| Desc {
        addr,
        len: u32::try_from(len & 0xffff_ffff).unwrap(),
        flags,
        next,
    })
}

proptest! {
    /// 2.7.10 says it in words: the interval from old to new has event in it.
    #[test]
    fn passed_means_that_the_event_lies_between(
        event: u16, old: u16, steps in 0..1000_u16,
    ) {
        let new = old.wrapping_add(steps);
        let walked = (0..steps).any(|step| old.wrapping_add(step) == event);
        prop_assert_eq!(passed(event, new, old), walked);
    }

    #[test]
    fn passed_agrees_just_around_the_event(event: u16, before in 0..40_u16, after in 0..40_u16) {
        let (old, new) = (event.wrapping_sub(before), event.wrapping_add(after));
        prop_assert_eq!(passed(event, new, old), after > 0);
    }

    #[test]
    fn a_slot_is_always_in_the_ring(index: u16, power in 0..=15_u32) {
        let fixture = Fixture::new(1 << power, RING_FEATURES);
        let (slot, size) = (fixture.queue.slot(index), 1_u64 << power);
        prop_assert!(slot < size);
        prop_assert_eq!(slot, u64::from(index) % size);
    }

    /// However requests are batched, each is served once, in order, and answered.
    #[test]
    fn every_request_is_answered_once_and_in_order(
        start: u16, power in 0..5_u32, batches in prop::collection::vec(1..20_u16, 1..20),
    ) {
        let mut fixture = Fixture::new(1 << power, RING_FEATURES).at(start);
        for batch in batches {
            let batch = batch.min(1 << power);
            let heads: Vec<_> = (0..batch).map(|_| fixture.ring.offer(&[ToGuest(1)])).collect();
            for _ in 0..batch {
                fixture.serve(b"a");
            }
            prop_assert_eq!(fixture.pop(), Ok(None));
            for head in heads {
                let used = Used { id: head.into(), len: 1 };
                prop_assert_eq!(fixture.ring.take_used(), Some(used));
            }
            prop_assert_eq!(fixture.ring.take_used(), None);
        }
    }

    /// Whatever is in the tables: an answer or an error, and only RAM in it.
    #[test]
    fn no_ring_makes_the_device_panic(
        table in prop::collection::vec(any_desc(), 8),
        indirect in prop::collection::vec(any_desc(), 8),
        head in 0..10_u16, index in near(&[0, 8]), features: u64,
    ) {
        let mut fixture = Fixture::new(8, features);
        for (number, (desc, indirect)) in (0..).zip(table.into_iter().zip(indirect)) {
            fixture.ring.set_desc(number, desc);
            fixture.ring.set_desc_in(0x30_0000, number, indirect);
        }
        fixture.ring.set_avail_entry(0, head);
        fixture.ring.set_avail_index(u16::try_from(index & 0xffff).unwrap());
        let mut request = Request::default();
        if let Ok(true) = fixture.queue.pop(&fixture.memory, &mut request) {
            let mut bytes = [0; 64];
            request.from_guest.peek(&mut bytes);
            request.to_guest.put(&bytes);
            prop_assert!(fixture.queue.add_used(&fixture.memory, &mut request).is_ok());
        }
        prop_assert!(fixture.queue.signal(&fixture.memory).is_ok());
    }
}
