//! A state is set on a device that differs from the saved one.

use std::io;

use serde_json::{Value, json};

use super::*;
use crate::device::{ConfigField, QueueSpec, Service};

/// The fields of [`Other`], in another order than its bytes.
const FIELDS: [ConfigField; 2] =
    [ConfigField::variable("mood", 4..6), ConfigField::fixed("size", 0..4)];

/// A device that is like [`echo`], but for what a test changes.
struct Other {
    features: u64,
    config: Vec<u8>,
    queues: usize,
    broken: bool,
}

fn other() -> Other {
    let config = b"twelve bytes".to_vec();
    Other { features: crate::testing::device::FEATURE, config, queues: 2, broken: false }
}

impl Device for Other {
    fn id(&self) -> u16 {
        echo().id()
    }

    fn queues(&self) -> Vec<QueueSpec> {
        (0..self.queues).map(|_| QueueSpec::new("one", 128)).collect()
    }

    fn features(&self) -> u64 {
        self.features
    }

    fn config(&self) -> Vec<u8> {
        self.config.clone()
    }

    fn config_fields(&self) -> &'static [ConfigField] {
        &FIELDS
    }

    fn begin(&self, _: u64) -> io::Result<()> {
        if self.broken { Err(io::Error::other("no tap")) } else { Ok(()) }
    }

    fn service(&self, queue: usize, accepted: u64) -> io::Result<Box<dyn Service>> {
        echo().service(queue, accepted)
    }
}

/// A state of an [`echo`] that runs, and the guest.
fn saved() -> (FakeGuest, VirtioPciState) {
    let mut guest = FakeGuest::new(echo());
    let state = guest.save();
    (guest, state)
}

/// The refusal of a state that was changed at `path` (a JSON pointer).
fn refusal_of(path: &str, value: Value) -> String {
    let (guest, state) = saved();
    let mut json = serde_json::to_value(&state).unwrap();
    *json.pointer_mut(path).unwrap() = value;
    let state = serde_json::from_value(json).unwrap();
    guest.restored(&state, echo()).err().expect("it is refused").to_string()
}

#[test]
fn the_state_of_another_device_is_refused() {
    assert_eq!(refusal_of("/name", json!("b")), "fake0: the state is that of \"b\"");
    assert_eq!(refusal_of("/id", json!(2)), "fake0: device type 2 in the state, 42 here");
}

#[test]
fn read_only_bytes_of_the_configuration_space_have_to_be_those_of_the_device() {
    let (_, state) = saved();
    let json = serde_json::to_value(&state).unwrap();
    let bytes = json.pointer("/config_space/bytes").unwrap().as_str().unwrap().to_string();
    for at in [0, 2, 0x13, 0x42] {
        let mut other: Vec<char> = bytes.chars().collect();
        other[2 * at] = if other[2 * at] == 'f' { 'e' } else { 'f' };
        let other: String = other.into_iter().collect();
        let error = refusal_of("/config_space/bytes", other.into());
        let begins = format!("fake0: byte {at:#x} of the configuration space is 0x");
        assert!(error.starts_with(&begins), "{error}");
    }
    let error = refusal_of("/config_space/bytes", json!("00"));
    assert!(error.contains("1 bytes, a device has 256"), "{error}");
}

#[test]
fn a_feature_that_the_driver_uses_has_to_be_offered() {
    for (steps, uses) in [(vec![], false), (vec![1], false), (vec![1, 3], true)] {
        let mut guest = FakeGuest::found(echo());
        for bits in steps {
            guest.set_status(bits);
        }
        let state = guest.save();
        let lacks = Other { features: 0, ..other() };
        assert_eq!(guest.restored(&state, lacks).is_err(), uses);
    }
    for (without, uses) in [(0, true), (crate::testing::device::FEATURE, false)] {
        let mut guest = FakeGuest::found(echo());
        guest.without = without;
        guest.start();
        let state = guest.save();
        let lacks = Other { features: 0, ..other() };
        let error = guest.restored(&state, lacks).err().map(|error| error.to_string());
        let why = "fake0: its driver uses feature bit 5, which the device does not offer here";
        assert_eq!(error.as_deref(), Some(why).filter(|_| uses));
        let has_more = Other { features: 1 << 5 | 1 << 6, ..other() };
        assert!(guest.restored(&state, has_more).is_ok());
    }
}

#[test]
fn a_field_of_the_configuration_that_may_change_interrupts_the_driver() {
    let (guest, state) = saved();
    let device = Other { config: b"twelVE bytes".to_vec(), ..other() };
    let mut restored = guest.restored(&state, device).unwrap();
    let before = restored.read(common::GENERATION);
    restored.resume();
    restored.wait_config_interrupt();

    let mut bytes = [0; 8];
    restored.device.read_memory(restored.map.device, &mut bytes);

    assert_eq!(bytes, *b"twelVE b");
    assert_eq!(restored.isr(), 2);
    assert_eq!(before, 1, "the first read of the registers has seen the change");
}

#[test]
fn any_other_change_of_the_configuration_is_refused() {
    for (config, field) in [
        (&b"Twelve bytes"[..], "size of its configuration (from byte 0 on) was 7477656c in"),
        (b"twelve bytez", "a byte of its configuration (from byte 11 on) was 73 in hexadecimal"),
        (b"twelve byte", "the state has a configuration of 12 bytes, the device has 11"),
        (b"", "the state has a configuration of 12 bytes, the device has 0"),
    ] {
        let (guest, state) = saved();
        let device = Other { config: config.to_vec(), ..other() };
        let error = guest.restored(&state, device).err().unwrap().to_string();
        assert!(error.starts_with(&format!("fake0: {field}")), "{error}");
    }
}

/// The number of vectors shows in the configuration space, which is compared first.
#[test]
fn a_device_with_other_queues_is_refused() {
    let (guest, state) = saved();
    for queues in [1, 3] {
        let device = Other { queues, ..other() };
        assert!(guest.restored(&state, device).is_err());
    }
    for (path, wants) in [
        ("/registers/queues", "fake0: the state has 1 queues, the device has 2"),
        ("/queues", "fake0: the state has 1 queues, the device has 2"),
        ("/msix/vectors", "fake0: the state has 1 interrupt vectors, the device has 3"),
    ] {
        let json = serde_json::to_value(&state).unwrap();
        let first = json.pointer(path).unwrap().as_array().unwrap()[0].clone();
        assert_eq!(refusal_of(path, json!([first])), wants);
    }
}

#[test]
fn a_queue_that_cannot_be_is_refused_by_name() {
    for (path, value, wants) in [
        ("/registers/queues/0/layout/size", 3, "queue 0 has 3 entries, of at most 128"),
        ("/registers/queues/1/layout/size", 128, "queue 1 has 128 entries, of at most 64"),
        ("/registers/queues/1/vector", 3, "queue 1 has vector 3, which the device does not have"),
        (
            "/registers/queues/1/layout/avail",
            1,
            "fake0-two: avail ring at 0x1 is misaligned or not in guest memory",
        ),
        (
            "/queues/0/queue/position/next_avail",
            7,
            "fake0-one: 7 chains were taken and 0 used: not a request boundary",
        ),
        (
            "/queues/1/queue/signalled",
            1,
            "fake0-two: entry 0 used and 1 signalled, on a queue of 64",
        ),
        ("/status/config_vector", 3, "vector 3 of the configuration, the device has 3 vectors"),
        ("/status/bits", 4, "status 0x04 is not valid"),
        ("/status/isr", 1, "ISR status 0x01 is not valid"),
        ("/msix/vectors/1/control", 2, "vector 1: address 0xfee00000 or control 0x2 is not valid"),
    ] {
        assert_eq!(refusal_of(path, value.into()), format!("fake0: {wants}"));
    }
    let error = refusal_of("/registers/queues/1/enabled", false.into());
    assert_eq!(error, "fake0: fake0-two: the queue was served and is not enabled");
    let error = refusal_of("/registers/accepted_beyond", true.into());
    assert_eq!(error, "fake0: the accepted features are not valid");
    let error = refusal_of("/registers/accepted/0", 0.into());
    assert_eq!(error, "fake0: the accepted features are not valid");
    let error = refusal_of("/registers/accepted/1", 1.into());
    assert!(error.contains("its driver uses feature bit 64,"), "{error}");
    let error = refusal_of("/started", false.into());
    assert_eq!(error, "fake0: fake0-one was served by a device that did not run");
    let error = refusal_of("/status/bits", 11.into());
    assert_eq!(error, "fake0: its queues were started before its driver was ready");
    let error = refusal_of("/device", 7.into());
    assert_eq!(error, "fake0: the state has values of another kind of device");
    let error = refusal_of("/queues/1/service", json!({}));
    assert_eq!(error, "fake0: fake0-two: the state has values of another kind of device");
}

#[test]
fn an_error_of_the_host_is_reported() {
    let (guest, state) = saved();
    let device = Other { broken: true, ..other() };
    let error = guest.restored(&state, device).err().unwrap();
    assert_eq!(error.to_string(), "fake0: preparing the device: no tap");
}

#[test]
fn an_unknown_field_is_refused() {
    let (_, state) = saved();
    let mut json = serde_json::to_value(&state).unwrap();
    json["registers"]["speed"] = 7.into();
    let error = serde_json::from_value::<VirtioPciState>(json).unwrap_err().to_string();
    assert!(error.contains("speed"), "{error}");
}
