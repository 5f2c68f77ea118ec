//! The device status in a snapshot.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::{
    ACKNOWLEDGE, DRIVER, DRIVER_OK, DeviceStatus, FAILED, FEATURES_OK, ISR_CONFIGURATION,
    NEEDS_RESET,
};
use crate::mutex;
use crate::state::{StateError, ensure};

/// The state of a [`DeviceStatus`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceStatusState {
    /// The status byte.
    bits: u8,
    /// ISR status.
    isr: u8,
    /// The vector of configuration changes.
    config_vector: u16,
    /// A configuration interrupt has not been sent.
    pending: bool,
}

/// The values of the status byte, without the bits that can be set at any time.
const STEPS: [u8; 5] = [
    0,
    ACKNOWLEDGE,
    ACKNOWLEDGE | DRIVER,
    ACKNOWLEDGE | DRIVER | FEATURES_OK,
    ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK,
];

impl DeviceStatus {
    pub(crate) fn state(&self) -> DeviceStatusState {
        // A restored device is held, and logs as a new one.
        let Self {
            name: _,
            bits,
            isr,
            config_vector,
            held: _,
            pending,
            vectors: _,
            machine: _,
            change,
            logged: _,
        } = self;
        let _host = mutex::lock(change);
        DeviceStatusState {
            bits: bits.load(Ordering::Acquire),
            isr: isr.load(Ordering::Acquire),
            config_vector: config_vector.load(Ordering::Acquire),
            pending: pending.load(Ordering::SeqCst),
        }
    }

    /// Sets the state. The device is held, so this sends no interrupt.
    ///
    /// # Errors
    /// When no driver can bring a device into such a state.
    pub(crate) fn restore(&self, state: &DeviceStatusState) -> Result<(), StateError> {
        let DeviceStatusState { bits, isr, config_vector, pending } = *state;
        ensure(STEPS.contains(&(bits & !(FAILED | NEEDS_RESET))), || {
            format!("status {bits:#04x} is not valid")
        })?;
        ensure(isr & !ISR_CONFIGURATION == 0, || format!("ISR status {isr:#04x} is not valid"))?;
        ensure(self.valid_vector(config_vector) == config_vector, || {
            let count = self.vectors.len();
            format!("vector {config_vector} of the configuration, the device has {count} vectors")
        })?;
        let _host = mutex::lock(&self.change);
        self.bits.store(bits, Ordering::Release);
        self.isr.store(isr, Ordering::Release);
        self.config_vector.store(config_vector, Ordering::Release);
        self.pending.store(pending, Ordering::SeqCst);
        Ok(())
    }

    /// Whether the configuration interrupt is held back, because the device is paused.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }
}
