//! A disk that is paused in the middle of requests.

use super::*;
use crate::testing::machine::until;
use crate::testing::ring::Desc;

const MIB: usize = 1 << 20;

/// A request of `mib` MiB, all of them in the same buffer: more than one call moves.
fn large(guest: &mut FakeGuest, kind: u32, sector: u64, buffer: Desc, mib: usize) -> u16 {
    let ring = &mut guest.rings[0];
    let first = ring.buffer(FromGuest(&header(kind, sector)));
    let mut chain = vec![buffer; mib];
    chain.insert(0, first);
    chain.push(ring.buffer(ToGuest(1)));
    ring.offer_chain(&chain)
}

#[test]
fn a_request_that_a_pause_interrupts_is_completed() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(25 << 20).unwrap();
    let mut guest = guest(image(&file));
    let mut pauses = 0;
    // However quick the disk is, and however slow this thread.
    for (round, byte) in (0_u16..).zip((b'a'..=b'z').cycle()) {
        if round >= 10 && pauses > 10 {
            break;
        }
        let whole = vec![byte; MIB];
        let buffer = guest.rings[0].buffer(FromGuest(&whole));
        let head = large(&mut guest, OUT, 1, buffer, 24);
        guest.notify(0);
        // The request begins again after each pause. The pauses come later and later, so that
        // some are in the middle of the request.
        for nap in (0..10_000).step_by(100) {
            if guest.rings[0].used_index() != round {
                break;
            }
            guest.pause();
            guest.resume();
            std::thread::sleep(std::time::Duration::from_micros(nap));
            pauses += 1;
        }
        until("the answer", || guest.rings[0].used_index() != round);
        assert_eq!(guest.rings[0].take_used().map(|used| used.id), Some(head.into()));
        assert_eq!(guest.bytes(0, head).pop(), Some(OK));
        let bytes = read_all(&file);
        assert!(bytes[..512] == [0; 512] && bytes[512 + 24 * MIB..].iter().all(|b| *b == 0));
        assert!(bytes[512..512 + 24 * MIB].chunks(MIB).all(|part| part == whole), "{round}");
    }
}
