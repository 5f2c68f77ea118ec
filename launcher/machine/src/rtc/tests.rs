//! The clock as a guest sees it, at times that the tests choose.

use std::sync::mpsc;

use devices::number::low_u8;

use super::calendar::Date;
use super::registers::SECOND;
use super::*;

/// 2026-11-30, 13:59:58 and a quarter, a Monday.
fn start() -> Nanos {
    let days = Date { year: 2026, month: 11, day: 30 }.days();
    Nanos::from(days * 86_400 + 13 * 3600 + 59 * 60 + 58) * SECOND + SECOND / 4
}

/// Seconds, minutes, hours, weekday, day, month, year, century.
fn shown(state: &mut State, host: Nanos) -> [u8; 8] {
    [0, 2, 4, 6, 7, 8, 9, 0x32].map(|index| state.read(index, host).0)
}

const NOTHING: Events = Events { interrupt: false, alarm: false };
const INTERRUPT: Events = Events { interrupt: true, alarm: false };
const ALARM: Events = Events { interrupt: true, alarm: true };

#[test]
fn the_time_is_the_hosts_in_every_number_format() {
    let mut state = State::new(start());
    assert_eq!(shown(&mut state, start()), [0x58, 0x59, 0x13, 2, 0x30, 0x11, 0x26, 0x20]);
    state.write(11, 0x06, start());
    assert_eq!(shown(&mut state, start()), [58, 59, 13, 2, 30, 11, 26, 20]);
    state.write(11, 0x00, start());
    assert_eq!(state.read(4, start()).0, 0x81);
    let later = start() + 2 * SECOND;
    assert_eq!(shown(&mut state, later)[..3], [0, 0, 0x82]);
}

#[test]
fn the_update_in_progress_bit_is_set_before_an_update() {
    let mut state = State::new(start());
    assert_eq!(state.read(10, start()).0, 0x26);
    assert_eq!(state.read(10, start() + SECOND * 3 / 4 - 1).0, 0xa6);
    assert_eq!(state.read(10, start() + SECOND * 3 / 4).0, 0x26);
}

#[test]
fn a_clock_that_was_set_starts_half_a_second_later() {
    let mut state = State::new(start());
    // Linux sets the clock in these steps.
    state.write(11, 0x82, start());
    state.write(10, 0x76, start());
    for (index, value) in [(0, 0), (2, 0), (4, 0), (7, 1), (8, 1), (9, 0), (0x32, 0x21)] {
        state.write(index, value, start());
    }
    let released = start() + 10 * SECOND;
    assert_eq!(shown(&mut state, released)[..3], [0, 0, 0]);
    state.write(11, 0x02, released);
    state.write(10, 0x26, released);
    let new_year = [0, 0, 0, 6, 1, 1, 0, 0x21];
    assert_eq!(shown(&mut state, released + SECOND / 2 - 1), new_year);
    assert_eq!(state.read(0, released + SECOND / 2).0, 1);
}

#[test]
fn a_clock_that_was_set_to_no_valid_time_shows_the_hosts() {
    let mut state = State::new(start());
    state.write(11, 0x82, start());
    state.write(8, 0x13, start());
    state.write(11, 0x02, start());
    assert_eq!(state.read(8, start()).0, 0x11);
}

#[test]
fn an_alarm_interrupts_once_until_its_flag_is_read() {
    let mut state = State::new(start());
    for (index, value) in [(1, 0x00), (3, 0x00), (5, 0x14), (11, 0x22)] {
        assert_eq!(state.write(index, value, start()), NOTHING);
    }
    let due = state.deadline().unwrap();
    assert_eq!(due, start() + SECOND * 7 / 4);
    assert_eq!(state.advance(due - 1), NOTHING);
    assert_eq!(state.advance(due), ALARM);
    assert_eq!(state.deadline(), None, "nothing to wait for until it is read");
    assert_eq!(state.advance(due + SECOND), NOTHING);
    // The flags of updates and periods are set too, and interrupt nobody.
    assert_eq!(state.read(12, due + SECOND), (0xf0, NOTHING));
    assert_eq!(state.read(12, due + SECOND), (0, NOTHING));
    assert_eq!(state.deadline(), Some(due + 86_400 * SECOND));
}

#[test]
fn an_interrupt_that_came_before_it_was_enabled_is_raised_at_once() {
    let mut state = State::new(start());
    assert_eq!(state.deadline(), None);
    assert_eq!(state.write(11, 0x12, start() + SECOND), INTERRUPT);
    assert_eq!(state.read(12, start() + SECOND).0, 0xd0);
    assert_eq!(state.deadline(), Some(start() + SECOND * 7 / 4));
}

#[test]
fn periods_are_those_of_the_data_sheet() {
    let mut state = State::new(start());
    state.write(11, 0x42, start());
    for (rate, hertz) in [(3, 8192), (6, 1024), (15, 2), (1, 256)] {
        state.write(10, 0x20 | rate, start());
        let first = state.deadline().unwrap();
        assert!(first - start() <= SECOND / hertz, "{rate}");
        assert!(state.advance(first).interrupt);
        state.read(12, first);
        assert_eq!(state.deadline(), Some(first + SECOND / hertz), "{rate}");
        state.read(12, start());
    }
    state.write(10, 0x20, start());
    assert_eq!(state.deadline(), None);
}

#[test]
fn a_clock_that_is_being_set_raises_no_interrupt() {
    let mut state = State::new(start());
    state.write(11, 0x32, start());
    assert!(state.deadline().is_some());
    state.write(11, 0xb2, start());
    assert_eq!(state.deadline(), None);
    assert_eq!(state.advance(start() + 10 * SECOND), NOTHING);
    assert_eq!(state.read(11, start()).0, 0xa2);
}

#[test]
fn no_write_makes_the_clock_panic_or_wait_in_the_past() {
    let mut number = 0x2545_f491_4f6c_dd1d_u64;
    let mut state = State::new(start());
    let mut host = start();
    for _ in 0..100_000 {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        let [index, value, step, what, ..] = number.to_le_bytes();
        let index = usize::from(if what & 3 == 0 { index & 0x7f } else { index & 0xf });
        host += Nanos::from(step) << (value & 31);
        if what & 4 == 0 {
            state.write(index, value, host);
        } else {
            state.read(index, host);
        }
        state.advance(host);
        assert!(state.deadline().is_none_or(|due| due > host), "{state:?}");
    }
}

/// The state as it comes back from a snapshot.
fn reread(state: &State) -> State {
    let json = serde_json::to_string(&state.saved()).unwrap();
    State::restored(&serde_json::from_str(&json).unwrap()).unwrap()
}

#[test]
fn a_restored_clock_is_as_far_ahead_of_the_host_as_it_was() {
    let mut state = State::new(start());
    state.write(11, 0x32, start());
    for ahead in [0, 1, 7 * 3600, -7 * 3600] {
        let later = start() + 2 * SECOND + ahead * SECOND;
        assert_eq!(reread(&state), state);
        state.write(4, 0x23, later);
        let mut restored = reread(&state);
        let days_later = later + 100_000 * SECOND;
        assert_eq!(shown(&mut restored, days_later), shown(&mut state, days_later));
        assert_eq!(restored.deadline(), state.deadline());
    }
    // Stopped.
    state.write(11, 0x82, start());
    assert_eq!(reread(&state), state);
}

#[test]
fn an_alarm_that_comes_due_between_saving_and_restoring_is_raised() {
    let mut state = State::new(start());
    for (index, value) in [(1, 0x00), (3, 0x00), (5, 0x14), (11, 0x22)] {
        state.write(index, value, start());
    }
    assert_eq!(state.advance(start() + SECOND), NOTHING);
    assert_eq!(reread(&state).advance(start() + 3600 * SECOND), ALARM);
}

#[test]
fn a_damaged_state_is_refused_or_harmless() {
    let clock = || Clock::new(Box::new(|| {}), Box::new(|| {}));
    let saved = serde_json::to_value(clock().state()).unwrap();
    let restored = |pointer: &str, value: serde_json::Value| {
        let mut saved = saved.clone();
        *saved.pointer_mut(pointer).expect(pointer) = value;
        let state = serde_json::from_value(saved).map_err(|error| error.to_string())?;
        clock().restore(&state).map_err(|error| error.to_string())
    };
    for seconds in [i64::MIN, i64::MAX, 1 << 50] {
        for place in ["/registers/seen/seconds", "/registers/time/running/ahead/seconds"] {
            let refusal = restored(place, seconds.into()).unwrap_err();
            assert_eq!(
                refusal,
                format!("a time of {seconds} s and {} ns is not valid", {
                    let other = place.replace("seconds", "nanoseconds");
                    saved.pointer(&other).unwrap()
                })
            );
        }
    }
    assert!(restored("/registers/seen/nanoseconds", 1_000_000_000.into()).is_err());
    let stopped = |seconds: i64| {
        serde_json::json!({
            "stopped": { "fraction": { "seconds": seconds, "nanoseconds": 5 } }
        })
    };
    restored("/registers/time", stopped(0)).unwrap();
    assert!(restored("/registers/time", stopped(1)).unwrap_err().contains("longer"));
    assert!(restored("/registers/time", stopped(-1)).is_err());
    assert!(restored("/index", 128.into()).unwrap_err().contains("register 128"));
    assert!(restored("/registers/bytes", "00".into()).is_err());

    // Any contents of the registers, at the latest and the earliest time that is accepted.
    let mut number = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..500 {
        let mut bytes = String::new();
        while bytes.len() < 256 {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            bytes.push_str(&format!("{number:016x}"));
        }
        let seconds = [1_264_896_000_000_i64, -1_264_896_000_000, 0][round % 3];
        let time = serde_json::json!({ "seconds": seconds, "nanoseconds": 999_999_999 });
        let registers = serde_json::json!({
            "bytes": bytes, "time": { "running": { "ahead": time } }, "seen": time
        });
        let mut state = State::restored(&serde_json::from_value(registers).unwrap()).unwrap();
        state.deadline();
        for index in 0..128 {
            state.read(index, start());
            state.write(index, low_u8(number >> (index % 56)), start() + SECOND);
            state.deadline();
        }
        assert_eq!(reread(&state), state);
    }
}

#[test]
fn a_restored_clock_raises_its_alarm_when_it_is_released() {
    let (sender, alarms) = mpsc::channel();
    let sender = Mutex::new(sender);
    let alarm = move || sender.lock().unwrap().send(()).unwrap();
    let saved = Clock::new(Box::new(|| {}), Box::new(|| {}));
    saved.hold(true);
    // Every second.
    for (index, value) in [(1, 0xff), (3, 0xff), (5, 0xff), (11, 0x22)] {
        saved.write(0x70, index);
        saved.write(0x71, value);
    }
    let due = saved.shared.lock().state.deadline().unwrap();
    let clock = Clock::new(Box::new(|| {}), Box::new(alarm));
    clock.restore(&saved.state()).unwrap();
    assert_eq!(clock.state(), saved.state());
    while now() < due {
        std::thread::yield_now();
    }
    assert!(alarms.try_recv().is_err());
    clock.hold(false);
    alarms.recv().unwrap();
}

#[test]
fn the_thread_raises_a_due_alarm_unless_the_guest_is_paused() {
    let (sender, alarms) = mpsc::channel();
    let sender = Mutex::new(sender);
    let alarm = move || sender.lock().unwrap().send(()).unwrap();
    let clock = Clock::new(Box::new(|| {}), Box::new(alarm));
    let write = |index, value| {
        clock.write(0x70, index);
        clock.write(0x71, value);
    };
    clock.hold(true);
    // Every second.
    for index in [1, 3, 5] {
        write(index, 0xff);
    }
    assert!(clock.thread.lock().unwrap().is_none());
    write(11, 0x22);
    let due = clock.shared.lock().state.deadline().unwrap();
    while now() < due {
        std::thread::yield_now();
    }
    assert!(alarms.try_recv().is_err());
    clock.hold(false);
    alarms.recv().unwrap();
    drop(clock);
    assert!(alarms.try_recv().is_err());
}
