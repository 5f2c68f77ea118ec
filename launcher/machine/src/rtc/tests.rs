//! The clock as a guest sees it, at times that the tests choose.

use std::sync::mpsc;

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
