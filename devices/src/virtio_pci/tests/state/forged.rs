//! States from damaged or forged files: they are refused, or the device works with them
//! until its driver resets it.

use serde_json::{Value, json};

use super::*;

/// Each state that differs from `state` in one value.
fn forgeries(state: &Value) -> Vec<Value> {
    let mut paths = Vec::new();
    collect(state, String::new(), &mut paths);
    let change = |path: String| {
        let changes = changes(state.pointer(&path).unwrap());
        changes.into_iter().map(move |value| {
            let mut forged = state.clone();
            *forged.pointer_mut(&path).unwrap() = value;
            forged
        })
    };
    paths.into_iter().flat_map(change).collect()
}

/// The JSON pointers of all values.
fn collect(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{path}/{index}"), paths);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                collect(field, format!("{path}/{name}"), paths);
            }
        }
        _ => {}
    }
    paths.push(path);
}

/// What a forger makes of a value.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => vec![json!(0), json!({}), json!([null]), json!("x"), json!({"printed": 9})],
        Value::Bool(it) => vec![json!(!it), json!(1), Value::Null],
        Value::Number(it) => numbers(it.as_u64().unwrap()),
        Value::String(text) => texts(text),
        Value::Array(items) => {
            let fewer = items.iter().skip(1).cloned().collect();
            let more = items.iter().chain(items.first()).cloned().collect();
            let swapped = items.iter().rev().cloned().collect();
            vec![Value::Array(fewer), Value::Array(more), Value::Array(swapped), Value::Null]
        }
        Value::Object(fields) => {
            let mut more = fields.clone();
            more.insert("more".to_string(), json!(1));
            let mut fewer = fields.clone();
            fewer.remove(&fields.keys().next().cloned().unwrap_or_default());
            vec![Value::Object(more), Value::Object(fewer), Value::Null, json!([])]
        }
    }
}

fn numbers(number: u64) -> Vec<Value> {
    let bits = (0..64).map(|bit| number ^ 1 << bit);
    let near = [number.wrapping_add(1), number.wrapping_sub(1), 0, !0, 0xff, 0xffff, 0xffff_ffff];
    let all = bits.chain(near).filter(|it| *it != number).map(Value::from);
    all.chain([json!(-1), json!(0.5), json!("7"), Value::Null]).collect()
}

fn texts(text: &str) -> Vec<Value> {
    let flip = |at: usize| {
        let flipped = text.chars().enumerate().map(|(here, it)| match it.to_digit(16) {
            Some(digit) if here == at => char::from_digit(digit ^ 1 << (at % 4), 16).unwrap(),
            _ => it,
        });
        json!(flipped.collect::<String>())
    };
    let mut all: Vec<_> = (0..text.len()).map(flip).collect();
    all.extend([json!(""), json!("zz"), json!(format!("{text}00")), json!(7), Value::Null]);
    all.retain(|it| it.as_str() != Some(text));
    all
}

/// Restores a forged state. If the device takes it, runs the device, and lets its driver
/// reset it and use it again. Returns whether the device took it.
fn try_forgery(guest: &FakeGuest, forged: &Value, device: impl Device + 'static) -> bool {
    let Ok(state) = serde_json::from_value::<VirtioPciState>(forged.clone()) else { return false };
    let memory = crate::testing::memory();
    let Ok(mut restored) = guest.restored_in(memory, &state, device) else { return false };
    restored.resume();
    for queue in 0..restored.rings.len() {
        restored.notify(queue);
    }
    restored.pause();
    let again = restored.device.state().unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap().pointer("/id"), forged.pointer("/id"));
    restored.resume();
    command(&mut restored, 0b110);
    restored.start();
    assert_eq!(restored.status(), 15, "{forged}");
    assert_eq!(restored.machine.failures(), [], "{forged}");
    true
}

/// Returns how many of the forgeries a device took.
fn try_all<D: Device + 'static>(guest: &mut FakeGuest, device: impl Fn() -> D) -> [usize; 2] {
    let state = serde_json::to_value(guest.save()).unwrap();
    assert!(try_forgery(guest, &state, device()), "the state itself");
    let forgeries = forgeries(&state);
    let taken = forgeries.iter().filter(|forged| try_forgery(guest, forged, device()));
    [taken.count(), forgeries.len()]
}

#[test]
fn no_forged_state_of_a_running_device_does_harm() {
    let mut guest = FakeGuest::new(echo());
    for queue in [0, 1] {
        guest.offer(queue, &[FromGuest(b"a"), ToGuest(1)]);
        guest.wait_used(queue);
    }
    guest.mask(2, true);

    let [taken, all] = try_all(&mut guest, echo);

    assert!(taken > 50 && taken < all / 2, "{taken} of {all}");
}

#[test]
fn no_forged_state_of_a_new_device_does_harm() {
    for steps in [&[][..], &[1, 3], &[1, 3, 11]] {
        let mut guest = FakeGuest::found(echo());
        for bits in steps {
            guest.set_status(*bits);
            guest.accept(1 << 32);
        }
        let [taken, all] = try_all(&mut guest, echo);
        assert!(taken > 50 && taken < all / 2, "{taken} of {all}");
    }
}

#[test]
fn no_forged_state_of_a_console_does_harm() {
    let console = || {
        let (input, keyboard) = pipe().unwrap();
        crate::console::Console {
            input: File::from(OwnedFd::from(input)),
            output: move || {
                let _open = &keyboard;
                std::io::sink()
            },
            size: Arc::default(),
        }
    };
    let mut guest = FakeGuest::new(console());
    guest.offer(0, &[ToGuest(1)]);
    guest.wait_used(0);

    let [taken, all] = try_all(&mut guest, console);

    assert!(taken > 50 && taken < all / 2, "{taken} of {all}");
}
