//! What the driver finds.

use super::*;
use crate::testing::threads::threads;

const GUEST_CSUM: u64 = 1 << 1;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_ECN: u64 = 1 << 9;
const GUEST_USO4: u64 = 1 << 54;

fn config(guest: &mut FakeGuest) -> Vec<u8> {
    let mut bytes = [0; 12];
    guest.device.read_memory(guest.map.device, &mut bytes[..8]);
    guest.device.read_memory(guest.map.device + 8, &mut bytes[8..]);
    bytes.to_vec()
}

#[test]
fn the_configuration_has_address_state_pairs_and_mtu() {
    let (net, host) = card(2);
    host.link.set(true);

    let mut guest = FakeGuest::found(net);

    assert_eq!(config(&mut guest), [2, 1, 2, 3, 4, 5, 1, 0, 2, 0, 0xdc, 5]);
}

#[test]
fn a_change_of_the_link_interrupts_the_driver() {
    let (net, host) = card(1);
    let mut guest = FakeGuest::new(net);
    assert_eq!(config(&mut guest)[6..8], [0, 0]);

    assert!(host.link.set(true));
    assert!(!host.link.set(true));
    guest.device.status().config_changed();

    guest.wait_config_interrupt();
    assert_eq!(config(&mut guest)[6..8], [1, 0]);
}

#[test]
fn offloads_of_the_interface_are_offered_in_both_directions() {
    let offered = |pairs, offloads, mtu| {
        let net = Net { offloads, mtu, ..card(pairs).0 };
        FakeGuest::found(net).offered() & !crate::queue::RING_FEATURES
    };
    let (mac_mrg_status, mtu, mq) = (1 << 5 | 1 << 15 | 1 << 16, 1 << 3, 1 << 17 | 1 << 22);

    assert_eq!(offered(1, 0, 67), mac_mrg_status);
    assert_eq!(offered(2, 0, 68), mac_mrg_status | mtu | mq);
    assert_eq!(offered(1, GUEST_CSUM | GUEST_TSO4, 67), mac_mrg_status | 0b11 | 1 << 7 | 1 << 11);
    let all = 0b11 | 0b1111 << 7 | 0b1111 << 11 | 0b111 << 54;
    assert_eq!(offered(1, features::OFFLOADS, 67), mac_mrg_status | all);
}

/// Every DRIVER_OK sets the offloads for the present driver.
#[test]
fn the_interface_gets_the_offloads_that_the_driver_accepted() {
    let (net, host) = card(2);
    let mut guest = FakeGuest::found(net);
    for (without, offloads) in [
        (0, features::OFFLOADS),
        (GUEST_CSUM, 0),
        (!(GUEST_CSUM | GUEST_ECN | 1 << 32), GUEST_CSUM),
        (GUEST_USO4, features::OFFLOADS & !(0b11 << 54)),
    ] {
        guest.without = without;
        guest.start();
        assert_eq!(host.interface.asked(), [Asked::Offloads(offloads), Asked::Pairs(1)]);
    }
}

#[test]
fn threads_have_the_names_of_the_queues() {
    let (one, two) = (card(1).0, card(2).0);
    let _guests = [FakeGuest::named("nic0", one), FakeGuest::named("nic1", two)];

    until("seven threads", || threads("nic").len() == 7);
    assert_eq!(threads("nic0"), ["nic0-rx", "nic0-tx"]);
    assert_eq!(threads("nic1"), ["nic1-ctl", "nic1-rx0", "nic1-rx1", "nic1-tx0", "nic1-tx1"]);
}
