//! States of snapshots: a device that runs is saved, values of its state are changed, and
//! the state is set on a new device. A state that the new device takes does no harm: its
//! driver can reset it.

#![no_main]

use devices::testing::FakeGuest;
use devices::testing::device::echo;
use devices::testing::pci::COMMAND;
use devices::testing::ring::Part::{FromGuest, ToGuest};
use devices::virtio_pci::VirtioPciState;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// The most values that are changed.
const MOST: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let mut guest = FakeGuest::new(echo());
    guest.offer(0, &[FromGuest(b"a"), ToGuest(1)]);
    guest.wait_used(0);
    guest.offer(1, &[FromGuest(b"b"), ToGuest(1)]);
    let mut state = serde_json::to_value(guest.save()).expect("the state as JSON");
    let _ = forge(&mut Unstructured::new(bytes), &mut state);

    let Ok(state) = serde_json::from_value::<VirtioPciState>(state) else { return };
    let Ok(mut restored) = guest.restored(&state, echo()) else { return };
    restored.resume();
    (0..2).for_each(|queue| restored.notify(queue));
    restored.save();
    restored.resume();
    restored.device.write_config(COMMAND, &0b110_u16.to_le_bytes());
    restored.start();
    assert_eq!(restored.status(), 15);
    let failures = restored.machine.failures();
    assert!(failures.is_empty(), "{failures:?}");
});

/// Changes values of the state.
fn forge(input: &mut Unstructured<'_>, state: &mut Value) -> Result<()> {
    for _ in 0..MOST {
        let value = descend(input, state)?;
        *value = match input.int_in_range(0..=5)? {
            0 => Value::Null,
            1 => input.arbitrary::<bool>()?.into(),
            2 => input.arbitrary::<u8>()?.into(),
            3 => input.arbitrary::<u16>()?.into(),
            4 => input.arbitrary::<u64>()?.into(),
            _ => another_digit(input, value)?,
        };
    }
    Ok(())
}

/// Chooses a value in a tree.
fn descend<'v>(input: &mut Unstructured<'_>, value: &'v mut Value) -> Result<&'v mut Value> {
    let children = match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if children == 0 {
        return Ok(value);
    }
    let index = input.choose_index(children)?;
    let child = match value {
        Value::Array(items) => items.get_mut(index),
        Value::Object(fields) => fields.values_mut().nth(index),
        _ => None,
    };
    descend(input, child.expect("the index is that of a child"))
}

/// Changes a digit of a text, or a bit of a number.
fn another_digit(input: &mut Unstructured<'_>, value: &Value) -> Result<Value> {
    Ok(match value {
        Value::String(text) if !text.is_empty() => {
            let at = input.choose_index(text.len())?;
            let digit = char::from(*input.choose(b"0123456789abcdef")?);
            let change = |(here, old)| if here == at { digit } else { old };
            text.chars().enumerate().map(change).collect::<String>().into()
        }
        Value::Number(number) => {
            let bit = input.int_in_range(0..=63)?;
            (number.as_u64().unwrap_or_default() ^ 1 << bit).into()
        }
        other => other.clone(),
    })
}
