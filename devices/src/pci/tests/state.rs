//! The bus is saved, and another one continues.

use super::*;
use crate::pci::PciBusState;

const PATIENCE: Duration = Duration::from_secs(10);

/// The state of a bus whose devices are on and have a driver.
fn saved(bus: &PciBus) -> PciBusState {
    for slot in 1..3 {
        select(bus, slot, 4);
        bus.write_port(0xcfc, &[6, 0]);
        bus.write_memory(status(slot - 1), &[1]);
    }
    select(bus, 2, 0x3c);
    bus.write_port(0xcfc, &[7]);
    assert!(bus.pause(PATIENCE).is_empty());
    bus.state().unwrap()
}

#[test]
fn a_driver_finds_the_new_bus_as_it_was() {
    let old = bus(2);
    let state = saved(&old);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<PciBusState>(&text).unwrap(), state);

    let new = bus(2);
    new.restore(&state).unwrap();

    assert_eq!(new.state().unwrap(), state);
    new.resume().unwrap();
    assert_eq!(read_port::<4>(&new, 0xcf8), (1_u32 << 31 | 2 << 11 | 0x3c).to_le_bytes());
    assert_eq!(read_port::<1>(&new, 0xcfc), [7]);
    assert_eq!([status(0), status(1)].map(|at| read_memory(&new, at)), [1, 1]);
    assert_eq!(config(&new, 1, 4) & 7, 6);
    old.resume().unwrap();
    assert_eq!([status(0), status(1)].map(|at| read_memory(&old, at)), [1, 1]);
}

#[test]
fn a_bus_that_runs_is_not_saved() {
    let error = bus(2).state().unwrap_err();
    assert_eq!(error.to_string(), "dev0: the device is not paused");
}

#[test]
fn a_bus_with_other_devices_is_refused() {
    let state = saved(&bus(2));
    for (count, has) in
        [(0, "no devices"), (1, "1 device (dev0)"), (3, "3 devices (dev0, dev1, dev2)")]
    {
        let error = bus(count).restore(&state).unwrap_err().to_string();
        let wants = format!("the state has 2 devices (dev0, dev1), and this guest has {has}");
        assert_eq!(error, wants);
    }
}

#[test]
fn devices_in_another_order_are_refused() {
    let state = saved(&bus(2));
    let mut json = serde_json::to_value(&state).unwrap();
    json["devices"].as_array_mut().unwrap().swap(0, 1);
    let state = serde_json::from_value(json).unwrap();
    let error = bus(2).restore(&state).unwrap_err();
    assert_eq!(error.to_string(), "dev0: the state is that of \"dev1\"");
}

#[test]
fn a_bus_elsewhere_in_memory_is_refused() {
    let mut other = PciBus::new(WINDOW + 2 * BAR_SIZE);
    for name in ["dev0", "dev1"] {
        let machine = Arc::new(FakeMachine::default());
        let base = other.next_base().unwrap();
        let device = VirtioPci::new(name, Box::new(echo()), memory(), machine, base).unwrap();
        other.add(device);
    }
    let error = other.restore(&saved(&bus(2))).unwrap_err().to_string();
    assert!(error.starts_with("dev0: byte 0x12 of the configuration space is 0x00"), "{error}");
}

/// A forged state: the names go to a terminal.
#[test]
fn names_of_a_forged_state_are_short_and_plain() {
    let mut json = serde_json::to_value(saved(&bus(2))).unwrap();
    let mut device = json["devices"][0].take();
    device["name"] = format!("\u{1b}[2J\n{}", "x".repeat(100_000)).into();
    json["devices"] = vec![device; 300].into();
    let state = serde_json::from_value(json).unwrap();
    let error = bus(2).restore(&state).unwrap_err().to_string();
    assert!(error.len() < 10_000 && !error.contains(char::is_control), "{} bytes", error.len());
    let error = bus(300 - 53).restore(&state).unwrap_err().to_string();
    assert!(error.len() < 20_000 && !error.contains(char::is_control), "{} bytes", error.len());
}
