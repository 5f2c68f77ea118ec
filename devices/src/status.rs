//! The part of a device's state that its queue threads share with the transport:
//! the status byte and the configuration interrupt. All atomics, so that a
//! queue thread never takes the lock under which a reset waits for it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::EventFd;

use crate::error::GuestError;
use crate::interrupt::{Interrupt, Machine};
use crate::queue_thread::Owner;

/// Status bits (virtio 1.2, 2.1).
pub const ACKNOWLEDGE: u8 = 1;
/// The guest knows how to drive the device.
pub const DRIVER: u8 = 2;
/// The driver is set up: the device is live.
pub const DRIVER_OK: u8 = 4;
/// Feature negotiation is complete.
pub const FEATURES_OK: u8 = 8;
/// Set by the device: it has seen an error that only a reset cures.
pub const NEEDS_RESET: u8 = 64;
/// The driver has given up.
pub const FAILED: u8 = 128;

/// What a driver writes for "no vector" (4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;

/// How long a device that broke down keeps quiet about the next time.
const BETWEEN_LOG_LINES: Duration = Duration::from_secs(1);

/// Status and configuration interrupt of one device.
pub struct Status {
    name: String,
    bits: AtomicU8,
    generation: AtomicU8,
    config_vector: AtomicU16,
    /// The device stands still: an interrupt is owed until it goes on. Sequentially
    /// consistent, both: whoever comes second sees the other, and raises it.
    held: AtomicBool,
    owed: AtomicBool,
    vectors: Vec<Arc<EventFd>>,
    machine: Arc<dyn Machine>,
    /// The last protocol violation that was logged, and when: a guest that
    /// breaks down again after each reset must not fill the log.
    logged: Mutex<Option<(GuestError, Instant)>>,
}

impl Status {
    pub(crate) fn new(name: &str, vectors: Vec<Arc<EventFd>>, machine: Arc<dyn Machine>) -> Self {
        Self {
            name: name.to_string(),
            bits: AtomicU8::new(0),
            generation: AtomicU8::new(0),
            config_vector: AtomicU16::new(NO_VECTOR),
            held: AtomicBool::new(false),
            owed: AtomicBool::new(false),
            vectors,
            machine,
            logged: Mutex::new(None),
        }
    }

    /// The device's name: "con0".
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The status byte.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, bits: u8) {
        self.bits.fetch_or(bits, Ordering::AcqRel);
    }

    /// As after power-on. The threads have been stopped.
    pub(crate) fn reset(&self) {
        self.config_vector.store(NO_VECTOR, Ordering::Release);
        self.bits.store(0, Ordering::Release);
        self.owed.store(false, Ordering::SeqCst);
    }

    pub(crate) fn generation(&self) -> u8 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn config_vector(&self) -> u16 {
        self.config_vector.load(Ordering::Acquire)
    }

    /// The driver's choice; one that does not exist reads back as none.
    pub(crate) fn set_config_vector(&self, vector: u16) {
        self.config_vector.store(self.valid_vector(vector), Ordering::Release);
    }

    pub(crate) fn valid_vector(&self, vector: u16) -> u16 {
        if usize::from(vector) < self.vectors.len() { vector } else { NO_VECTOR }
    }

    /// The interrupt behind a vector number.
    pub(crate) fn interrupt(&self, vector: u16) -> Interrupt {
        Interrupt::new(self.vectors.get(usize::from(vector)).cloned())
    }

    /// The configuration has changed: tell the driver, if one is there (2.3).
    pub fn config_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.interrupt_config();
    }

    /// From now on the configuration may change, and the driver is told later.
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Tell it what it has missed.
    pub(crate) fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
        self.pay();
    }

    fn interrupt_config(&self) {
        self.owed.store(true, Ordering::SeqCst);
        self.pay();
    }

    fn pay(&self) {
        let due = !self.held.load(Ordering::SeqCst) && self.owed.swap(false, Ordering::SeqCst);
        if due && self.bits() & (DRIVER_OK | FAILED) == DRIVER_OK {
            self.interrupt(self.config_vector()).trigger();
        }
    }

    /// 2.1.2: the device cannot go on, and says so.
    pub(crate) fn break_down(&self, who: &str, error: &GuestError) {
        self.set(NEEDS_RESET);
        self.interrupt_config();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = |(last, at): &(_, Instant)| last == error || at.elapsed() < BETWEEN_LOG_LINES;
        if !logged.as_ref().is_some_and(enough) {
            log::warn!("{who}: the guest broke the protocol: {error}; device needs a reset");
            *logged = Some((error.clone(), Instant::now()));
        }
    }
}

impl Owner for Status {
    fn needs_reset(&self, thread: &str, error: &GuestError) {
        self.break_down(thread, error);
    }

    /// What the driver was told before its side was open has passed it by;
    /// Linux learns the window's size only from now on.
    fn opened(&self) {
        self.config_changed();
    }

    fn failed(&self, thread: &str, why: &str) {
        self.machine.failed(thread, why);
    }
}

#[cfg(test)]
mod tests;
