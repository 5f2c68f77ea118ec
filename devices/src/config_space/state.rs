//! The configuration space in a snapshot.

use serde::{Deserialize, Serialize};

use super::ConfigSpace;
use crate::state::{HexBytes, StateError, ensure};

/// The state of a [`ConfigSpace`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigSpaceState {
    /// All 256 bytes. The bytes that no driver can write show which device it was.
    bytes: HexBytes,
    /// The BAR reads as its size.
    sizing: bool,
}

impl ConfigSpace {
    pub(crate) fn state(&self) -> ConfigSpaceState {
        // The places follow from the device.
        let Self { bytes, base: _, sizing, end: _, link: _, msix: _, window: _ } = self;
        ConfigSpaceState { bytes: HexBytes(bytes.to_vec()), sizing: *sizing }
    }

    /// Sets what a driver can write.
    ///
    /// # Errors
    /// When the read-only bytes are not those of this device.
    pub(crate) fn restore(&mut self, state: &ConfigSpaceState) -> Result<(), StateError> {
        let ConfigSpaceState { bytes: HexBytes(saved), sizing } = state;
        ensure(saved.len() == self.bytes.len(), || {
            let count = saved.len();
            format!("the state has a configuration space of {count} bytes, a device has 256")
        })?;
        for (at, (own, saved)) in self.bytes.iter().zip(saved).enumerate() {
            ensure((own ^ saved) & !self.writable(at) == 0, || {
                format!(
                    "byte {at:#x} of the configuration space is {saved:#04x} in the state, and \
                     {own:#04x} on this device"
                )
            })?;
        }
        for (own, saved) in self.bytes.iter_mut().zip(saved) {
            *own = *saved;
        }
        self.sizing = *sizing;
        Ok(())
    }
}
