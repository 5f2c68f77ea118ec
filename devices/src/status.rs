//! The part of a device's state that its queue threads share with the transport:
//! the status byte, ISR status and the configuration interrupt. All atomics, so that a
//! queue thread never takes the lock under which a reset waits for it. The one lock in
//! here orders resets and the host's own threads, which a reset does not wait for.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use vmm_sys_util::eventfd::EventFd;

use crate::error::GuestError;
use crate::interrupt::{Interrupt, Machine};
use crate::log_interval::{BY_GUEST, LogInterval};
use crate::mutex;

/// DeviceStatus bits (virtio 1.2, 2.1).
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

/// ISR status: the configuration has changed (4.1.4.5).
const ISR_CONFIGURATION: u8 = 1 << 1;

/// DeviceStatus and configuration interrupt of one device.
pub struct DeviceStatus {
    name: String,
    bits: AtomicU8,
    isr: AtomicU8,
    config_vector: AtomicU16,
    /// The device is paused: an interrupt is owed until it is resumed. Both
    /// accesses are sequentially consistent: the second one sees the first, and
    /// raises the interrupt.
    held: AtomicBool,
    pending: AtomicBool,
    vectors: Vec<Arc<EventFd>>,
    machine: Arc<dyn Machine>,
    /// Held by a thread of the host while it announces a change, and by a reset while it
    /// clears the state: no interrupt comes after the reset. Queue threads do not take it.
    change: Mutex<()>,
    logged: Mutex<Logged>,
}

/// The last protocol violation that was logged, and the interval after it: a guest that breaks
/// down again after each reset must not fill the log.
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

    /// As after power-on. The queue threads have been stopped, and no interrupt comes from
    /// here on (2.4.1).
    pub(crate) fn reset(&self) {
        let _host = mutex::lock(&self.change);
        self.config_vector.store(NO_VECTOR, Ordering::Release);
        self.bits.store(0, Ordering::Release);
        self.pending.store(false, Ordering::SeqCst);
        self.isr.store(0, Ordering::Release);
    }

    /// Read ISR status, which clears it (4.1.4.5.1).
    pub(crate) fn take_isr(&self) -> u8 {
        self.isr.swap(0, Ordering::AcqRel)
    }

    /// Whether ISR status has a bit set; nothing is cleared.
    pub(crate) fn has_isr(&self) -> bool {
        self.isr.load(Ordering::Acquire) != 0
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

    /// The configuration has changed: tell the driver, if there is one (2.3). For threads
    /// of the host; queue threads use `interrupt_config`.
    pub fn config_changed(&self) {
        let _host = mutex::lock(&self.change);
        self.interrupt_config();
    }

    /// From now on the configuration may change, and the driver is told later.
    pub(crate) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Tell it what it has missed.
    pub(crate) fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
        self.deliver_pending();
    }

    /// Announce a change from a queue thread, or under the device's lock: a reset comes after both
    /// in any case.
    pub(crate) fn interrupt_config(&self) {
        self.pending.store(true, Ordering::SeqCst);
        self.deliver_pending();
    }

    fn deliver_pending(&self) {
        let due = !self.held.load(Ordering::SeqCst) && self.pending.swap(false, Ordering::SeqCst);
        if due && self.bits() & (DRIVER_OK | FAILED) == DRIVER_OK {
            // 4.1.4.5.1: before the driver is notified, whether or not it has a vector.
            self.isr.fetch_or(ISR_CONFIGURATION, Ordering::AcqRel);
            self.interrupt(self.config_vector()).trigger();
        }
    }

    /// 2.1.2: the device cannot go on, and says so.
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

    /// The host failed: the machine ends.
    pub(crate) fn end_machine(&self, who: &str, why: &str) {
        self.machine.failed(who, why);
    }
}

#[cfg(test)]
mod tests;
