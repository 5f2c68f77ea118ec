//! A card that is saved, and continued by another one on another interface.

use super::*;

const CONTROL: usize = 4;
const SET_TWO: [u8; 4] = [4, 0, 2, 0];

/// A guest whose driver uses both queue pairs.
fn of_two_pairs() -> (FakeGuest, Host) {
    let (net, host) = card(2);
    let mut guest = FakeGuest::new(net);
    guest.offer(CONTROL, &[FromGuest(&SET_TWO), ToGuest(1)]);
    guest.wait_used(CONTROL);
    host.interface.asked();
    (guest, host)
}

#[test]
fn the_new_interface_gets_the_offloads_and_the_queue_pairs() {
    let (mut guest, host) = of_two_pairs();

    let state = guest.save();
    let (net, new) = card(2);
    let mut restored = guest.restored(&state, net).unwrap();

    assert_eq!(restored.device.state().unwrap(), state);
    let offloads = Asked::Offloads(features::OFFLOADS);
    assert_eq!(new.interface.asked(), [offloads, Asked::Pairs(1), Asked::Pairs(2)]);
    assert_eq!(host.interface.asked(), []);
    restored.resume();
    assert_eq!(new.interface.asked(), []);
    restored.start();
    assert_eq!(new.interface.asked(), [offloads, Asked::Pairs(1)]);
    let state = serde_json::to_value(restored.save()).unwrap();
    assert_eq!(state["device"]["pairs"], 1);
}

/// Buffers in hand wait in the ring, and each frame arrives once.
#[test]
fn every_queue_continues() {
    let (mut guest, host) = of_two_pairs();
    let mut heads = Vec::new();
    for pair in [0, 1] {
        for _ in 0..60 {
            heads.push((pair, guest.offer(2 * pair, &[ToGuest(1536)])));
        }
        host.wires[pair].send(&frame(100)).unwrap();
        assert_eq!(guest.wait_used(2 * pair).len, 100);
        guest.pause();
        guest.offer(2 * pair + 1, &[FromGuest(&frame(60 + pair))]);
        guest.resume();
        guest.wait_used(2 * pair + 1);
    }

    let state = guest.save();
    let (net, new) = card(2);
    let mut restored = guest.restored(&state, net).unwrap();
    let late = restored.rings[1].offer(&[FromGuest(&frame(70))]);
    restored.resume();

    assert_eq!(restored.wait_used(1).id, u32::from(late));
    let mut bytes = [0; 100];
    assert_eq!(new.wires[0].recv(&mut bytes).unwrap(), 70);
    for pair in [0, 1] {
        new.wires[pair].send(&frame(1000 + pair)).unwrap();
        let used = restored.wait_used(2 * pair);
        let (_, second) = heads[60 * pair + 1];
        assert_eq!(used, Used { id: second.into(), len: u32::try_from(1000 + pair).unwrap() });
    }
    new.wires.iter().for_each(|wire| wire.set_nonblocking(true).unwrap());
    assert!(new.wires.iter().all(|wire| wire.recv(&mut bytes).is_err()), "sent twice");
}

#[test]
fn another_card_is_refused() {
    let (mut guest, _host) = of_two_pairs();
    let state = guest.save();
    let refusal = |net: Net| guest.restored(&state, net).err().unwrap().to_string();

    let mac = [2, 0, 0, 0, 0, 1];
    assert_eq!(
        refusal(Net { mac, ..card(2).0 }),
        "fake0: mac of its configuration (from byte 0 on) was 020102030405 in hexadecimal, and \
         is 020000000001 here"
    );
    let error = refusal(Net { mtu: 9000, ..card(2).0 });
    assert!(error.starts_with("fake0: mtu of its configuration (from byte 10 on)"), "{error}");
    let error = refusal(Net { offloads: 0, ..card(2).0 });
    assert!(error.contains("its driver uses feature bit 0,"), "{error}");
    assert!(guest.restored(&state, card(1).0).is_err());
    assert!(guest.restored(&state, card(3).0).is_err());
}

#[test]
fn a_number_of_queue_pairs_that_the_card_does_not_have_is_refused() {
    let (mut guest, _host) = of_two_pairs();
    let state = guest.save();
    for pairs in [0, 3, 0xffff] {
        let mut forged = serde_json::to_value(&state).unwrap();
        *forged.pointer_mut("/device/pairs").unwrap() = pairs.into();
        let forged = serde_json::from_value(forged).unwrap();
        let error = guest.restored(&forged, card(2).0).err().unwrap();
        let wants = format!("fake0: its driver uses {pairs} queue pairs, the device has 2");
        assert_eq!(error.to_string(), wants);
    }
}

#[test]
fn a_link_that_has_changed_is_announced() {
    let (net, host) = card(1);
    host.link.set(true);
    let mut guest = FakeGuest::new(net);
    let state = guest.save();
    let (net, _new) = card(1);

    let mut restored = guest.restored(&state, net).unwrap();
    restored.resume();

    restored.wait_config_interrupt();
    assert_eq!(restored.isr(), 2);
    let mut status = [0xff; 2];
    restored.device.read_memory(restored.map.device + 6, &mut status);
    assert_eq!(status, [0, 0]);
}
