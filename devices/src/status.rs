//! The part of a device's state that its queue threads share with the transport: the
//! status byte, ISR status and the configuration interrupt. The state is atomic, so that a
//! queue thread never takes the lock that a reset holds while it waits for the thread. The
//! lock `change` orders resets and the launcher's threads, which a reset does not wait for. No reset
//! takes the lock `logged`, which is for log lines.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use vmm_sys_util::eventfd::EventFd;

use crate::error::GuestError;
use crate::interrupt::{Interrupt, Machine};
use crate::log_interval::{BY_GUEST, LogInterval};
use crate::mutex;
use crate::number::low_u16;

mod state;

pub use state::DeviceStatusState;

/// A bit of the status byte (virtio 1.2, 2.1): the guest has found the device.
pub const ACKNOWLEDGE: u8 = 1;
/// A bit of the status byte: the guest has a driver for the device.
pub const DRIVER: u8 = 2;
/// A bit of the status byte: the driver is ready, and the device serves its queues.
pub const DRIVER_OK: u8 = 4;
/// A bit of the status byte: feature negotiation is complete.
pub const FEATURES_OK: u8 = 8;
/// A bit of the status byte: the device has found an error that needs a reset.
pub const NEEDS_RESET: u8 = 64;
/// A bit of the status byte: the driver has given up the device.
pub const FAILED: u8 = 128;

/// The vector number that means "no vector" (4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;

/// A bit of ISR status: the configuration has changed (4.1.4.5).
const ISR_CONFIGURATION: u8 = 1 << 1;

/// Status byte, ISR status and configuration interrupt of one device.
pub struct DeviceStatus {
    name: String,
    bits: AtomicU8,
    isr: AtomicU8,
    config_vector: AtomicU16,
    /// The device is paused, and holds its configuration interrupt back.
    held: AtomicBool,
    /// The configuration has changed, and the interrupt has not been sent. Accesses to
    /// `held` and `pending` are sequentially consistent: of two threads that change one
    /// each, the second sees both changes and sends the interrupt.
    pending: AtomicBool,
    vectors: Vec<Arc<EventFd>>,
    machine: Arc<dyn Machine>,
    /// A thread of the launcher holds this lock while it announces a change, and a reset
    /// while it clears the state: no interrupt comes after the reset. Queue threads do not
    /// take it.
    change: Mutex<()>,
    logged: Mutex<Logged>,
}

/// The last protocol violation that was logged, and the interval after it: a guest that breaks
/// the protocol after each reset must not fill the log.
#[derive(Default)]
struct Logged {
    error: Option<GuestError>,
    interval: LogInterval,
}

impl DeviceStatus {
    pub(crate) fn new(name: &str, vectors: Vec<Arc<EventFd>>, machine: Arc<dyn Machine>) -> Self {
        Self {
            name: name.to_string(),
            bits: AtomicU8::new(0),
            isr: AtomicU8::new(0),
            change: Mutex::new(()),
            config_vector: AtomicU16::new(NO_VECTOR),
            held: AtomicBool::new(false),
            pending: AtomicBool::new(false),
            vectors,
            machine,
            logged: Mutex::default(),
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

    /// Restores the state after power-on. The queue threads have been stopped, and no
    /// interrupt comes from here on (2.4.1).
    pub(crate) fn reset(&self) {
        let _host = mutex::lock(&self.change);
        self.config_vector.store(NO_VECTOR, Ordering::Release);
        self.bits.store(0, Ordering::Release);
        self.pending.store(false, Ordering::SeqCst);
        self.isr.store(0, Ordering::Release);
    }

    /// Reads ISR status, which clears it (4.1.4.5.1).
    pub(crate) fn take_isr(&self) -> u8 {
        self.isr.swap(0, Ordering::AcqRel)
    }

    /// Whether ISR status has a bit set. This does not clear it.
    pub(crate) fn has_isr(&self) -> bool {
        self.isr.load(Ordering::Acquire) != 0
    }

    pub(crate) fn config_vector(&self) -> u16 {
        self.config_vector.load(Ordering::Acquire)
    }

    /// Sets the vector that the driver has chosen. One that does not exist reads back as
    /// [`NO_VECTOR`].
    pub(crate) fn set_config_vector(&self, vector: u16) {
        self.config_vector.store(self.valid_vector(vector), Ordering::Release);
    }

    pub(crate) fn valid_vector(&self, vector: u16) -> u16 {
        if usize::from(vector) < self.vectors.len() { vector } else { NO_VECTOR }
    }

    /// The number of vectors.
    pub(crate) fn vectors(&self) -> u16 {
        low_u16(self.vectors.len() as u64)
    }

    /// Returns the interrupt of a vector.
    pub(crate) fn interrupt(&self, vector: u16) -> Interrupt {
        Interrupt::new(self.vectors.get(usize::from(vector)).cloned())
    }

    /// Announces a change of the configuration to the driver, if there is one (2.3). For
    /// threads of the launcher; queue threads use `interrupt_config`.
    pub fn config_changed(&self) {
        let _host = mutex::lock(&self.change);
        self.interrupt_config();
    }

    /// Holds the configuration interrupt back from now on.
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Ends [`Self::hold`], and sends the interrupt if it is pending.
    pub(crate) fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
        self.deliver_pending();
    }

    /// Announces a change from a queue thread, or under the device's lock: a reset waits for
    /// both.
    pub(crate) fn interrupt_config(&self) {
        self.pending.store(true, Ordering::SeqCst);
        self.deliver_pending();
    }

    /// Sends a configuration interrupt that is pending, unless it is held back.
    fn deliver_pending(&self) {
        let due = !self.held.load(Ordering::SeqCst) && self.pending.swap(false, Ordering::SeqCst);
        if due && self.bits() & (DRIVER_OK | FAILED) == DRIVER_OK {
            // 4.1.4.5.1: before the driver is notified, whether or not it has a vector.
            self.isr.fetch_or(ISR_CONFIGURATION, Ordering::AcqRel);
            self.interrupt(self.config_vector()).trigger();
        }
    }

    /// Sets NEEDS_RESET after a protocol violation by the guest, and logs it (2.1.2).
    pub(crate) fn mark_needs_reset(&self, who: &str, error: &GuestError) {
        self.set(NEEDS_RESET);
        self.interrupt_config();
        let mut logged = mutex::lock(&self.logged);
        let now = Instant::now();
        let is_new = logged.interval.is_new(now);
        if is_new || logged.error.as_ref() != Some(error) && logged.interval.ends(now) {
            log::warn!(
                target: BY_GUEST,
                "{who}: the guest broke the protocol: {error}; device needs a reset"
            );
            logged.error = Some(error.clone());
        }
    }

    /// Ends the machine because the host failed.
    pub(crate) fn end_machine(&self, who: &str, why: &str) {
        self.machine.failed(who, why);
    }
}

#[cfg(test)]
mod tests;
