//! Machines that are saved and restored on this host's KVM.

mod machine;
mod program;

use serde_json::Value;

use super::*;
use machine::{Machine, kvm};
use program::{COUNTER, TICKS, Timer};

/// How often a machine is saved and restored. An access that is not completed at a pause shows
/// within some ten rounds.
const ROUNDS: u64 = 200;

/// Save and restore a guest that checks what it reads from a device, and that waits for the
/// interrupts of its timer.
#[track_caller]
fn survives(timer: Timer) {
    let Some(kvm) = kvm() else { return };
    let mut machine = Machine::start(&kvm, timer);
    let mut before = (0, 0);
    for round in 0..ROUNDS {
        machine.wait_until_it_continues(before);
        // The pauses shall hit different instructions.
        for _ in 0..round * 37 % 1000 {
            std::hint::spin_loop();
        }
        let (saved, file) = machine.save();
        let counter = machine.read(COUNTER);
        before = (counter, machine.read(TICKS));
        let register = saved.vcpu.regs.0.rbx;
        assert!(register == counter || register == counter + 1, "{register} {counter}");
        drop(machine);
        machine = Machine::restored(&kvm, &saved, &file);
    }
    machine.wait_until_it_continues(before);
}

#[test]
fn a_guest_with_a_deadline_timer_is_restored_hundreds_of_times_and_loses_nothing() {
    survives(Timer::Deadline);
}

#[test]
fn a_guest_with_a_one_shot_timer_is_restored_hundreds_of_times_and_loses_nothing() {
    survives(Timer::OneShot);
}

/// The state without what passes by itself: the time stamp counter, and what is left of a timer.
fn without_time(state: &VcpuState) -> VcpuState {
    const TIME_STAMP: u32 = 0x10;
    const TIMER_CURRENT: usize = 0x390;
    let mut state = state.clone();
    state.msrs.retain(|msr| msr.index != TIME_STAMP);
    state.lapic.0.regs[TIMER_CURRENT..TIMER_CURRENT + 4].fill(0);
    state
}

#[test]
fn the_restored_state_is_the_saved_one() {
    let Some(kvm) = kvm() else { return };
    for timer in [Timer::Deadline, Timer::OneShot] {
        let machine = Machine::start(&kvm, timer);
        machine.wait_until_it_continues((3, 3));
        let (saved, file) = machine.save();
        let json = serde_json::to_string(&saved.vcpu).unwrap();
        let read: VcpuState = serde_json::from_str(&json).unwrap();
        assert_eq!(read, saved.vcpu);
        let restored = Machine::restored_paused(&kvm, &saved, &file).unwrap();
        let (again, _) = restored.save();
        assert_eq!(without_time(&again.vcpu), without_time(&saved.vcpu));
        assert_eq!(again.ports, saved.ports);
        assert!(again.vcpu.cpuid.iter().any(|entry| entry.leaf == 1 && entry.ecx >> 31 == 1));
        let (clock, later) = (saved.clock(), again.clock());
        assert!(later > clock && later - clock < 3_600_000_000_000, "{clock} {later}");
    }
}

#[test]
fn a_vcpu_that_runs_has_no_state() {
    let Some(kvm) = kvm() else { return };
    let machine = Machine::start(&kvm, Timer::OneShot);
    assert_eq!(machine.vcpu().state().unwrap_err().to_string(), "vcpu0 is not paused");
}

#[test]
fn interrupts_of_the_board_are_in_the_state_when_the_pulse_returns() {
    const REQUESTED: usize = 0x200;
    let Some(kvm) = kvm() else { return };
    for gsi in [4, 5, 6, 8] {
        let machine = Machine::start(&kvm, Timer::OneShot);
        machine.pause();
        let vector = 0x90 + gsi;
        // An entry of the I/O APIC: this vector, on the first CPU. The entries begin at byte 24.
        let mut vm = serde_json::to_value(machine.vm.state().unwrap()).unwrap();
        let mut digits = vm["io_apic"].as_str().unwrap().to_string();
        let place = (24 + gsi * 8) * 2;
        digits.replace_range(place..place + 16, &format!("{vector:02x}00000000000000"));
        vm["io_apic"] = digits.into();
        machine.vm.restore(&serde_json::from_value(vm).unwrap()).unwrap();
        let is_requested = || {
            let state = machine.vcpu().state().unwrap();
            let byte = state.lapic.0.regs[REQUESTED + vector / 32 * 16 + vector % 32 / 8];
            byte >> (vector % 8) & 1 == 1
        };
        assert!(!is_requested(), "{gsi}");
        machine.vm.pulse(gsi.try_into().unwrap());
        assert!(is_requested(), "{gsi}");
    }
}

/// All places in a JSON value that hold a number or a string.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(all) => {
            all.iter().for_each(|(name, value)| leaves(value, &format!("{path}/{name}"), found));
        }
        Value::Array(all) => {
            all.iter()
                .enumerate()
                .for_each(|(i, value)| leaves(value, &format!("{path}/{i}"), found));
        }
        Value::Number(_) | Value::String(_) => found.push(path.to_string()),
        Value::Null | Value::Bool(_) => {}
    }
}

/// The value with one bit or digit of it changed: a string of digits at several places, and in
/// three further ways.
fn damaged(value: &Value, number_of_place: usize) -> Vec<Value> {
    match value {
        Value::Number(number) => {
            let bit = 1 << (number_of_place * 7 % 32);
            vec![Value::from(number.as_u64().unwrap() ^ bit)]
        }
        Value::String(digits) => {
            // Primes, so that the places differ from struct to struct.
            let step = if digits.len() > 1000 { 211 } else { 17 };
            let places = (number_of_place % step..digits.len()).step_by(step);
            let changed = places.map(|place| {
                let mut digits = digits.clone().into_bytes();
                digits[place] = if digits[place] == b'8' { b'0' } else { b'8' };
                String::from_utf8(digits).unwrap()
            });
            let cut = [digits[2..].to_string(), format!("{digits}00"), "x".to_string()];
            changed.chain(cut).map(Value::from).collect()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_damaged_state_is_refused_or_harmless() {
    let Some(kvm) = kvm() else { return };
    let machine = Machine::start(&kvm, Timer::Deadline);
    machine.wait_until_it_continues((3, 3));
    let (saved, file) = machine.save();
    drop(machine);
    let json = serde_json::to_value(&saved).unwrap();
    let mut places = Vec::new();
    leaves(&json, "", &mut places);
    let (mut refused, mut accepted) = (0, 0);
    for (number, place) in places.iter().enumerate() {
        for value in damaged(json.pointer(place).unwrap(), number) {
            let mut json = json.clone();
            *json.pointer_mut(place).unwrap() = value;
            let Ok(state) = serde_json::from_value(json) else {
                refused += 1;
                continue;
            };
            match Machine::restored_paused(&kvm, &state, &file) {
                Ok(_) => accepted += 1,
                Err(error) => {
                    let text = format!("{error:#}");
                    assert!(!text.contains('\n') && !text.is_empty(), "{place}: {text:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 20 && accepted > 20, "{refused} {accepted}");
}

#[test]
fn a_refusal_names_what_is_wrong() {
    let Some(kvm) = kvm() else { return };
    let machine = Machine::start(&kvm, Timer::Deadline);
    let (saved, file) = machine.save();
    drop(machine);
    let refusal = |change: &dyn Fn(&mut VcpuState)| {
        let mut other = saved.clone();
        change(&mut other.vcpu);
        let refused = Machine::restored_paused(&kvm, &other, &file);
        format!("{:#}", refused.err().unwrap())
    };
    // A register whose upper half must be 0.
    let refused = refusal(&|state| state.debug_regs.0.dr7 = u64::MAX);
    assert!(refused.starts_with("vCPU 0: KVM_SET_DEBUGREGS: "), "{refused}");
    let refused = refusal(&|state| state.xsave.0.extend([0; 64]));
    assert!(
        refused.contains("(XSAVE) has 4160 bytes in the snapshot, 4096 on this host"),
        "{refused}"
    );
    // EFER with bits that no processor has.
    let refused = refusal(&|state| state.msrs = vec![Msr { index: 0xc000_0080, value: u64::MAX }]);
    let expected = "vCPU 0: KVM refuses the value 0xffffffffffffffff of MSR 0xc0000080";
    assert_eq!(refused, expected);
    let refused = refusal(&|state| {
        state.nested = match state.nested {
            Some(_) => None,
            None => Some(HexBytes(vec![0; 128])),
        }
    });
    assert!(refused.contains("nested virtualization"), "{refused}");
    let refused = refusal(&|state| {
        let entry = state.cpuid[0];
        state.cpuid.resize(257, entry);
    });
    assert!(refused.contains("more CPUID entries than KVM takes"), "{refused}");
}
