//! The real-time clock of a PC, at ports 0x70 and 0x71: the date for kernels that have it from
//! nowhere else, and an alarm that wakes a guest which sleeps (`rtcwake`). What it does when is
//! in [`registers`]; here are its ports and the thread that waits for what comes next. A guest
//! that enables no interrupt of the clock has no such thread.

mod alarm;
mod calendar;
mod fields;
mod registers;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use devices::mutex::{lock, wait, wait_timeout};
use devices::threads;

pub(crate) use fields::CENTURY;
pub(crate) use registers::{DAY_ALARM, MONTH_ALARM};
use registers::{Events, Nanos, State};

/// Which register; what is in it.
pub(crate) const PORTS: Range<u16> = 0x70..0x72;

/// The other bit of port 0x70 masks a PC's NMI.
const INDEX: u8 = 0x7f;

/// Done when an interrupt comes.
pub(crate) type RaiseInterrupt = Box<dyn Fn() + Send + Sync>;

/// The clock. Dropping it ends its thread.
pub struct Clock {
    shared: Arc<SharedClock>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread has of the clock.
struct SharedClock {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// IRQ 8.
    interrupt: RaiseInterrupt,
    /// The alarm, as the power management hears of it.
    alarm: RaiseInterrupt,
}

struct Inner {
    state: State,
    index: u8,
    /// No interrupt comes: the guest is paused.
    held: bool,
    ended: bool,
}

impl Clock {
    /// A clock that shows the host's time, and what its interrupt and its alarm do.
    pub fn new(interrupt: RaiseInterrupt, alarm: RaiseInterrupt) -> Self {
        let inner = Inner { state: State::new(now()), index: 0, held: false, ended: false };
        let (inner, changed) = (Mutex::new(inner), Condvar::new());
        let shared = Arc::new(SharedClock { inner, changed, interrupt, alarm });
        Self { shared, thread: Mutex::default() }
    }

    /// `in`, of one byte.
    pub(crate) fn read(&self, port: u16) -> u8 {
        if port == PORTS.start {
            return 0xff;
        }
        self.access(|state, index| state.read(index, now()))
    }

    /// `out`.
    pub(crate) fn write(&self, port: u16, value: u8) {
        if port == PORTS.start {
            self.shared.lock().index = value & INDEX;
        } else {
            self.access(|state, index| ((), state.write(index, value, now())));
        }
    }

    /// Access the register that the guest has chosen, with what follows: an interrupt, another
    /// time for the thread to wait for.
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

    /// Let no interrupt come, or let those come that are due.
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
            // Its panic has been reported.
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

    /// Raise interrupts when they are due, until the end.
    fn tick(&self) {
        let mut inner = self.lock();
        while !inner.ended {
            if !inner.held {
                let events = inner.state.advance(now());
                self.raise(events);
            }
            let due = inner.state.deadline().filter(|_| !inner.held);
            let left = due.map(|due| u64::try_from(due - now()).unwrap_or(0));
            inner = match left.map(Duration::from_nanos) {
                Some(left) => wait_timeout(&self.changed, inner, left),
                None => wait(&self.changed, inner),
            };
        }
    }
}

/// The host's time.
fn now() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanos::try_from(since.as_nanos()).unwrap_or(0)
}
