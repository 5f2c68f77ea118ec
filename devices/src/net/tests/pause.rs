//! A card that is paused: frames wait on the wire, buffers in hand wait in the ring.

use vmm_sys_util::eventfd::EventFd;

use super::*;
use crate::device::Device;
use crate::interrupt::Interrupt;
use crate::queue::{QueuePosition, RING_FEATURES, Virtqueue};
use crate::queue_thread::{QueueThread, ServedQueue};
use crate::testing::ring::Ring;
use crate::testing::threads::{NoOwner, until_asleep};

/// Each frame has its number behind the header, and takes one to three buffers.
fn numbered(number: u16) -> Vec<u8> {
    let mut frame = frame(100 + 100 * usize::from(number % 3));
    frame[12..14].copy_from_slice(&number.to_le_bytes());
    frame
}

#[test]
fn a_thousand_pauses_lose_no_frame_and_double_none() {
    let (mut guest, wire) = guest();
    for _ in 0..400 {
        guest.rings[RX].offer(&[ToGuest(128)]);
    }
    guest.notify(RX);
    let (mut sent, mut came) = (0, 0);

    while came < 3000 {
        // The wire holds a few frames only.
        if came == sent {
            wire.send(&numbered(sent)).unwrap();
            guest.pause();
            for number in [sent + 1, sent + 2] {
                wire.send(&numbered(number)).unwrap();
            }
            guest.resume();
            sent += 3;
        }
        let ring = &mut guest.rings[RX];
        while let Some(used) = ring.take_used() {
            let mut head = u16::try_from(used.id).unwrap();
            let mut bytes = ring.bytes(head)[..usize::try_from(used.len).unwrap()].to_vec();
            let wanted = numbered(came);
            while bytes.len() < wanted.len() {
                ring.publish(head);
                // All of a frame is there at once.
                let more = ring.take_used().unwrap();
                head = u16::try_from(more.id).unwrap();
                bytes.extend(&ring.bytes(head)[..usize::try_from(more.len).unwrap()]);
            }
            ring.publish(head);
            assert!(bytes[12..] == wanted[12..], "frame {came}");
            came += 1;
        }
        guest.notify(RX);
    }
}

#[test]
fn a_pause_does_not_set_the_interface_up_again() {
    let (net, host) = card(2);
    let mut guest = FakeGuest::named("pair0", net);
    guest.offer(4, &[FromGuest(&[4, 0, 2, 0]), ToGuest(1)]);
    guest.wait_used(4);
    host.interface.asked();
    until_asleep("pair0-ctl");

    guest.pause();
    guest.resume();
    guest.offer(TX, &[FromGuest(&frame(60))]);
    guest.wait_used(TX);

    assert_eq!(host.interface.asked(), []);
}

/// The position that a thread hands back counts no buffer that was only in hand.
#[test]
fn buffers_in_hand_are_put_back() {
    let (net, host) = card(1);
    let memory = crate::testing::memory();
    let mut ring = Ring::new(&memory, 0, 64);
    for _ in 0..60 {
        ring.offer(&[ToGuest(1536)]);
    }
    let bell = Arc::new(EventFd::new(0).unwrap());
    let none = Interrupt::default();
    let queue = Virtqueue::new(ring.layout, &memory, RING_FEATURES, bell, none).unwrap();
    let service = net.service(RX, MRG_RXBUF).unwrap();
    let name = "hand0".to_string();
    let served = ServedQueue::new(name, memory, queue, service, Arc::new(NoOwner));
    let thread = QueueThread::spawn(served).unwrap();
    host.wires[0].send(&frame(2000)).unwrap();
    until("a frame", || ring.used_index() == 2);
    until_asleep("hand0");

    let position = thread.join().map(|served| served.position());
    assert_eq!(position, Some(QueuePosition { next_avail: 2, next_used: 2 }));
}
