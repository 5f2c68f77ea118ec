//! net0-ctl.

use super::*;

const CONTROL: usize = 4;

/// The device's answer to a command.
fn command(guest: &mut FakeGuest, queue: usize, parts: &[&[u8]]) -> Vec<u8> {
    let mut chain: Vec<_> = parts.iter().map(|bytes| FromGuest(bytes)).collect();
    chain.push(ToGuest(1));
    let head = guest.offer(queue, &chain);
    assert_eq!(guest.wait_used(queue), Used { id: head.into(), len: 1 });
    guest.bytes(queue, head)
}

#[test]
fn the_driver_sets_the_number_of_queue_pairs() {
    let (net, host) = card(2);
    let mut guest = FakeGuest::new(net);
    host.interface.asked();

    assert_eq!(command(&mut guest, CONTROL, &[&[4, 0], &[2, 0]]), [0]);
    assert_eq!(command(&mut guest, CONTROL, &[&[4], &[0, 1, 0]]), [0]);

    assert_eq!(host.interface.asked(), [Asked::Pairs(2), Asked::Pairs(1)]);
}

/// N-f of the catalogue.
#[test]
fn an_unknown_command_is_refused() {
    let (net, host) = card(2);
    let mut guest = FakeGuest::new(net);
    host.interface.asked();

    for wrong in [
        &[][..],
        &[4],
        &[4, 0],
        &[4, 0, 1],
        &[4, 0, 0, 0],
        &[4, 0, 3, 0],
        &[4, 0, 255, 255],
        &[4, 0, 1, 1],
        &[4, 0, 1, 0, 0],
        &[4, 1, 1, 0],
        &[0, 0, 1, 0],
        &[1, 1, 1, 0],
    ] {
        assert_eq!(command(&mut guest, CONTROL, &[wrong]), [1], "{wrong:?}");
    }
    let head = guest.offer(CONTROL, &[FromGuest(&[9])]);
    assert_eq!(guest.wait_used(CONTROL), Used { id: head.into(), len: 0 });
    assert_eq!(guest.machine.errors("fake0-ctl"), 13);

    assert_eq!(host.interface.asked(), []);
}

/// A driver that knows of one pair only looks for it behind that.
#[test]
fn without_mq_the_control_queue_is_the_third() {
    let (net, host) = card(2);
    let mut guest = FakeGuest::found(net);
    guest.without = 1 << 22;
    guest.start();
    host.interface.asked();

    assert_eq!(command(&mut guest, 2, &[&[4, 0, 1, 0]]), [0]);

    assert_eq!(host.interface.asked(), [Asked::Pairs(1)]);
}

#[test]
fn each_pair_has_its_own_descriptor() {
    let (net, host) = card(2);
    let mut guest = FakeGuest::new(net);

    guest.offer(3, &[FromGuest(&frame(60))]);
    guest.wait_used(3);
    let mut bytes = [0; 100];
    assert_eq!(host.wires[1].recv(&mut bytes).unwrap(), 60);

    let head = guest.offer(2, &[ToGuest(100)]);
    host.wires[1].send(&frame(70)).unwrap();
    assert_eq!(guest.wait_used(2), Used { id: head.into(), len: 70 });
}

/// Found by the fuzz target: there was no third pair, and the machine ended.
#[test]
fn a_queue_of_a_feature_that_was_not_accepted_needs_a_reset() {
    const NEEDS_RESET: u8 = 0x40;
    for (without, queues) in [(1 << 22, &[3, 4][..]), (1 << 17, &[4]), (1 << 22 | 1 << 17, &[2])] {
        for queue in queues {
            let (net, _host) = card(2);
            let mut guest = FakeGuest::found(net);
            guest.without = without;
            guest.start();
            guest.offer(*queue, &[FromGuest(&[0; 20])]);
            until("a broken device", || guest.status() & NEEDS_RESET != 0);
            assert_eq!(guest.machine.failures(), []);
        }
    }
}
