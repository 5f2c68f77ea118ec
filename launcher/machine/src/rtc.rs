//! The real-time clock of a PC, at ports 0x70 and 0x71: the date for kernels that have no other
//! source of it, and an alarm that wakes a guest which sleeps (`rtcwake`). [`registers`] has the
//! clock's behaviour. This module has its ports, and the thread that waits for the next event. A
//! guest that enables no interrupt of the clock has no such thread.

mod alarm;
mod bits;
mod calendar;
mod fields;
mod registers;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use devices::mutex::{lock, wait, wait_timeout};
use devices::number::low_u64;
use devices::threads;
use serde::{Deserialize, Serialize};

pub(crate) use bits::{DAY_ALARM, MONTH_ALARM};
pub(crate) use fields::CENTURY;

pub use registers::SavedRegisters;
use registers::{Events, Nanos, State};

/// The clock's ports: the index of a register, then its contents.
pub(crate) const PORTS: Range<u16> = 0x70..0x72;

/// The bits of port 0x70 that are the index. The other bit masks a PC's NMI.
const INDEX: u8 = 0x7f;

/// Raises an interrupt.
pub(crate) type RaiseInterrupt = Box<dyn Fn() + Send + Sync>;

/// The state of the clock in a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockState {
    registers: SavedRegisters,
    /// The register that the guest has chosen.
    index: u8,
}

/// The real-time clock. Dropping it ends its thread.
pub struct Clock {
    shared: Arc<SharedClock>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The part of the clock that its thread shares with the vCPUs.
struct SharedClock {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// IRQ 8.
    interrupt: RaiseInterrupt,
    /// Reports an alarm to power management.
    alarm: RaiseInterrupt,
}

struct Inner {
    state: State,
    index: u8,
    /// The guest is paused, so no interrupt is raised.
    held: bool,
    ended: bool,
}

impl Clock {
    /// A clock that shows the host's time. `interrupt` raises IRQ 8. `alarm` reports an alarm to
    /// power management.
    pub fn new(interrupt: RaiseInterrupt, alarm: RaiseInterrupt) -> Self {
        let inner = Inner { state: State::new(now()), index: 0, held: false, ended: false };
        let (inner, changed) = (Mutex::new(inner), Condvar::new());
        let shared = Arc::new(SharedClock { inner, changed, interrupt, alarm });
        Self { shared, thread: Mutex::default() }
    }

    /// The state, for a snapshot. An alarm that comes due while the guest is saved is raised when it
    /// is resumed, as after a pause.
    pub(crate) fn state(&self) -> ClockState {
        // Whether interrupts are held back belongs to the pause, not to the guest.
        let Inner { state, index, held: _, ended: _ } = &*self.shared.lock();
        ClockState { registers: state.saved(), index: *index }
    }

    /// Set the state. Interrupts are held back until [`Self::hold`] releases them.
    ///
    /// # Errors
    /// When the state is not one of a clock. The clock is then unchanged.
    pub(crate) fn restore(&self, state: &ClockState) -> Result<()> {
        let ClockState { registers, index } = state;
        ensure!(*index <= INDEX, "register {index} does not exist");
        let restored = State::restored(registers)?;
        let mut inner = self.shared.lock();
        (inner.state, inner.index, inner.held) = (restored, *index, true);
        let is_armed = inner.state.deadline().is_some();
        drop(inner);
        self.shared.changed.notify_one();
        if is_armed {
            self.start_thread();
        }
        Ok(())
    }

    /// Answer an `in` of one byte.
    pub(crate) fn read(&self, port: u16) -> u8 {
        if port == PORTS.start {
            return 0xff;
        }
        self.access(|state, index| state.read(index, now()))
    }

    /// Take an `out` of one byte.
    pub(crate) fn write(&self, port: u16, value: u8) {
        if port == PORTS.start {
            self.shared.lock().index = value & INDEX;
        } else {
            self.access(|state, index| ((), state.write(index, value, now())));
        }
    }

    /// Access the register that the guest has chosen. The access may raise an interrupt, and change
    /// the time that the thread waits for.
    fn access<T>(&self, access: impl FnOnce(&mut State, usize) -> (T, Events)) -> T {
        let mut inner = self.shared.lock();
        let (before, index) = (inner.state.deadline(), inner.index.into());
        let (result, events) = access(&mut inner.state, index);
        self.shared.raise(events);
        let after = inner.state.deadline();
        drop(inner);
        if after != before {
            self.shared.changed.notify_one();
            if after.is_some() {
                self.start_thread();
            }
        }
        result
    }

    /// Start the thread, unless it was started before.
    fn start_thread(&self) {
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let shared = Arc::clone(&self.shared);
            match threads::start("rtc", move || shared.tick()) {
                Ok(started) => *thread = Some(started),
                Err(error) => log::warn!("clock: starting its thread: {error}: no alarm comes"),
            }
        }
    }

    /// Hold back interrupts (true), or let the clock raise those that are due (false).
    pub fn hold(&self, held: bool) {
        self.shared.lock().held = held;
        self.shared.changed.notify_one();
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A panic of the thread has been reported.
            let _ = thread.join();
        }
    }
}

impl SharedClock {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn raise(&self, events: Events) {
        if events.interrupt {
            (self.interrupt)();
        }
        if events.alarm {
            (self.alarm)();
        }
    }

    /// Raise interrupts when they are due, until the clock is dropped: the body of the thread.
    fn tick(&self) {
        let mut inner = self.lock();
        while !inner.ended {
            if !inner.held {
                let events = inner.state.advance(now());
                self.raise(events);
            }
            let due = inner.state.deadline().filter(|_| !inner.held);
            let left = due.map(|due| (due - now()).clamp(0, u64::MAX.into()).cast_unsigned());
            inner = match left.map(|left| Duration::from_nanos(low_u64(left))) {
                Some(left) => wait_timeout(&self.changed, inner, left),
                None => wait(&self.changed, inner),
            };
        }
    }
}

/// The host's time, in nanoseconds since 1970. Exact: it has fewer than 96 bits.
fn now() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().cast_signed()
}
