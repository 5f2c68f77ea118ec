//! Tests of the bus: how ports and addresses find their device.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{CONFIG_PORTS, MOST, PciBus};
use crate::testing::device::echo;
use crate::testing::machine::FakeMachine;
use crate::testing::memory;
use crate::virtio_pci::{BAR_SIZE, VirtioPci};

mod state;

const WINDOW: u32 = 0xc000_0000;

/// A bus with `count` devices. Each has a descriptor for every queue and interrupt, and users have
/// 1024 unless they raise their limit.
fn bus(count: usize) -> PciBus {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let (mut bus, memory) = (PciBus::new(WINDOW), memory());
    let machine = Arc::new(FakeMachine::default());
    for index in 0..count {
        let base = bus.next_base().unwrap();
        let (device, machine) = (Box::new(echo()), Arc::clone(&machine) as Arc<_>);
        let name = format!("dev{index}");
        bus.add(VirtioPci::new(&name, device, memory.clone(), machine, base).unwrap());
    }
    bus
}

fn select(bus: &PciBus, slot: u32, register: u32) {
    bus.write_port(0xcf8, &(1 << 31 | slot << 11 | register).to_le_bytes());
}

fn read_port<const N: usize>(bus: &PciBus, port: u16) -> [u8; N] {
    let mut data = [0x55; N];
    bus.read_port(port, &mut data);
    data
}

/// A register of the configuration space.
fn config(bus: &PciBus, slot: u32, register: u32) -> u32 {
    select(bus, slot, register);
    u32::from_le_bytes(read_port(bus, 0xcfc))
}

fn read_memory(bus: &PciBus, address: u64) -> u8 {
    let mut data = [0x55];
    bus.read_memory(address, &mut data);
    data[0]
}

/// The address of a device's status byte.
fn status(device: u32) -> u64 {
    u64::from(WINDOW + device * BAR_SIZE + 0x14)
}

#[test]
fn slots_hold_the_host_bridge_then_the_devices_then_nothing() {
    let bus = bus(2);

    let ids: Vec<_> = (0..32).map(|slot| config(&bus, slot, 0)).collect();

    assert_eq!(ids[..3], [0x0d57_8086, 0x106a_1af4, 0x106a_1af4]);
    assert_eq!(ids[3..], [u32::MAX; 29]);
    assert_eq!(config(&bus, 0, 8), 0x0600_0000);
}

#[test]
fn each_device_has_its_bar() {
    let bus = bus(3);

    let bars: Vec<_> = (1..4).map(|slot| config(&bus, slot, 0x10)).collect();

    assert_eq!(bars, [WINDOW, WINDOW + BAR_SIZE, WINDOW + 2 * BAR_SIZE]);
}

#[test]
fn other_buses_and_functions_are_empty() {
    let bus = bus(1);

    for address in [1 << 16 | 1 << 11, 0xff << 16, 1 << 11 | 1 << 8, 1 << 11 | 7 << 8] {
        bus.write_port(0xcf8, &(1_u32 << 31 | address).to_le_bytes());
        assert_eq!(read_port(&bus, 0xcfc), [0xff; 4]);
    }
}

#[test]
fn without_its_enable_bit_the_address_selects_nothing() {
    let bus = bus(1);

    bus.write_port(0xcf8, &(1_u32 << 11).to_le_bytes());
    bus.write_port(0xcfc, &[0xff; 4]);

    assert_eq!(read_port(&bus, 0xcfc), [0xff; 4]);
}

#[test]
fn the_address_register_is_32_bits_wide_and_reads_back() {
    let bus = bus(1);
    select(&bus, 1, 4);

    bus.write_port(0xcf8, &[0]);
    bus.write_port(0xcf9, &[0xff]);
    bus.write_port(0xcf8, &[0, 0]);

    assert_eq!(read_port(&bus, 0xcf8), (1_u32 << 31 | 1 << 11 | 4).to_le_bytes());
    assert_eq!(read_port(&bus, 0xcf8), [0xff, 0xff]);
}

#[test]
fn narrow_ports_reach_single_bytes() {
    let bus = bus(1);
    select(&bus, 1, 0);

    assert_eq!(read_port(&bus, 0xcfd), [0x1a]);
    assert_eq!(read_port(&bus, 0xcfe), [0x6a, 0x10]);
    select(&bus, 1, 0x3c);
    bus.write_port(0xcfc, &[11]);

    assert_eq!(config(&bus, 1, 0x3c), 11);
}

#[test]
fn memory_finds_the_device_by_its_address() {
    let bus = bus(2);
    for slot in [1, 2] {
        select(&bus, slot, 4);
        bus.write_port(0xcfc, &[6, 0]);
    }

    bus.write_memory(status(1), &[1]);

    assert_eq!([status(0), status(1)].map(|at| read_memory(&bus, at)), [0, 1]);
}

#[test]
fn memory_that_belongs_to_no_device_reads_as_ones() {
    let bus = bus(2);

    for address in [0, u64::from(WINDOW) - 1, status(2), u64::from(u32::MAX), u64::MAX] {
        bus.write_memory(address, &[0]);
        assert_eq!(read_memory(&bus, address), 0xff, "{address:#x}");
    }
}

/// Where a driver finds the devices, in its order: slot, function and BAR. It looks
/// at the first function of each slot, and at others if that one says there are some.
fn found(bus: &PciBus) -> Vec<(u32, u32, u32)> {
    let mut found = Vec::new();
    for slot in 1..32 {
        let several = config(bus, slot, 0x0c) >> 16 & 0xff == 0x80;
        for function in 0..if several { 8 } else { 1 } {
            // The function's bits come after the register's, as `select` has it.
            let register = |at| config(bus, slot, function << 8 | at);
            if register(0) == 0x106a_1af4 {
                found.push((slot, function, register(0x10)));
            }
        }
    }
    found
}

fn bars(count: u32) -> Vec<u32> {
    (0..count).map(|index| WINDOW + index * BAR_SIZE).collect()
}

#[test]
fn up_to_31_devices_have_a_slot_each() {
    for count in [1, 2, 31] {
        let found = found(&bus(count as usize));

        let places: Vec<_> = found.iter().map(|(slot, function, _)| (*slot, *function)).collect();
        assert_eq!(places, (1..=count).map(|slot| (slot, 0)).collect::<Vec<_>>());
    }
}

#[test]
fn more_than_31_devices_are_found_in_their_order() {
    for count in [32, 33, 50, 62, 63, 247] {
        let found = found(&bus(count as usize));

        let order: Vec<_> = found.iter().map(|(_, _, bar)| *bar).collect();
        assert_eq!(order, bars(count), "{count} devices");
    }
}

#[test]
fn functions_that_are_not_used_are_empty() {
    let bus = bus(32);

    assert_eq!(config(&bus, 1, 1 << 8), 0x106a_1af4);
    for (slot, function) in [(1, 2), (1, 7), (16, 2), (17, 0), (0, 1)] {
        assert_eq!(config(&bus, slot, function << 8), u32::MAX, "{slot}.{function}");
    }
}

#[test]
fn the_bus_is_full_when_every_function_is_taken() {
    let bus = bus(MOST);

    assert_eq!(bus.next_base(), None);
    assert_eq!(found(&bus).last(), Some(&(31, 7, WINDOW + 247 * BAR_SIZE)));
}

#[test]
fn reset_stops_every_device() {
    let bus = bus(2);
    for slot in [1, 2] {
        select(&bus, slot, 4);
        bus.write_port(0xcfc, &[6, 0]);
        bus.write_memory(status(slot - 1), &[1]);
    }

    assert!(bus.reset(Duration::from_secs(10)).is_empty());

    assert_eq!([status(0), status(1)].map(|at| read_memory(&bus, at)), [0, 0]);
}

/// P1, P10: every port, every width, every register.
#[test]
fn no_access_through_the_ports_panics() {
    let bus = bus(1);

    for (slot, register) in (0..3).flat_map(|slot| (0..256).map(move |at| (slot, at))) {
        for (port, width) in CONFIG_PORTS.flat_map(|port| [1, 2, 3, 4, 8].map(|w| (port, w))) {
            select(&bus, slot, register);
            bus.write_port(port, &[0xff; 8][..width]);
            bus.read_port(port, &mut [0; 8][..width]);
        }
    }

    assert_eq!(config(&bus, 1, 0), 0x106a_1af4);
}
