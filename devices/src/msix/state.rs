//! The MSI-X table and its pending bits in a snapshot.

use serde::{Deserialize, Serialize};

use super::{Msix, Vector};
use crate::interrupt::MsiMessage;
use crate::state::{StateError, ensure};

/// The state of an [`Msix`]: one entry for each vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MsixState {
    vectors: Vec<VectorState>,
}

/// The state of one vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VectorState {
    /// The message as the driver has written it.
    message: MsiMessage,
    /// Vector control.
    control: u32,
    /// The pending bit. The interrupts of a connected vector have left the device.
    pending: bool,
}

impl Msix {
    pub(crate) fn state(&self) -> MsixState {
        // `control` and `master` are in the configuration space.
        let Self { machine: _, vectors, control: _, master: _, warned: _ } = self;
        let state = |(index, vector): (usize, &Vector)| {
            let Vector { event: _, line: _, message, control, connected: _ } = vector;
            let pending = self.is_pending(index);
            VectorState { message: *message, control: *control, pending }
        };
        MsixState { vectors: vectors.iter().enumerate().map(state).collect() }
    }

    /// Sets the table and the pending bits of a fresh device. [`Self::set_control`] then
    /// connects the vectors.
    ///
    /// # Errors
    /// When the number of vectors differs, or an entry has bits that cannot be written.
    pub(crate) fn restore(&mut self, state: &MsixState) -> Result<(), StateError> {
        let MsixState { vectors } = state;
        ensure(vectors.len() == self.vectors.len(), || {
            let (saved, own) = (vectors.len(), self.vectors.len());
            format!("the state has {saved} interrupt vectors, the device has {own}")
        })?;
        for (index, saved) in vectors.iter().enumerate() {
            let VectorState { message, control, pending: _ } = saved;
            ensure(message.address & 3 == 0 && control & !1 == 0, || {
                let address = message.address;
                format!("vector {index}: address {address:#x} or control {control:#x} is not valid")
            })?;
        }
        for (own, saved) in self.vectors.iter_mut().zip(vectors) {
            (own.message, own.control) = (saved.message, saved.control);
            if saved.pending {
                let _ = own.event.write(1); // The counter of a fresh device is 0.
            }
        }
        Ok(())
    }

    /// Whether the machine sends the interrupts of a vector.
    pub(crate) fn is_connected(&self, vector: u16) -> bool {
        let vector = self.vectors.get(usize::from(vector));
        vector.is_some_and(|vector| vector.connected.is_some())
    }
}
