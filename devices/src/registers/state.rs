//! The registers of the common configuration in a snapshot.

use serde::{Deserialize, Serialize};

use super::{QueueRegisters, Registers};
use crate::number::low_u64;
use crate::queue::QueueLayout;
use crate::state::{StateError, ensure};
use crate::status::{DRIVER, FEATURES_OK};

/// The state of the [`Registers`], without the status byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistersState {
    /// The feature bits that the driver could read.
    offered: u64,
    /// The accepted feature bits, the low 64 first.
    accepted: [u64; 2],
    accepted_beyond: bool,
    generation: u8,
    device_feature_select: u32,
    driver_feature_select: u32,
    queue_select: u16,
    queues: Vec<QueueRegistersState>,
}

/// The state of the registers of one queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueRegistersState {
    layout: QueueLayout,
    enabled: bool,
    vector: u16,
}

impl QueueRegisters {
    fn state(&self) -> QueueRegistersState {
        let Self { limit: _, layout, enabled, vector } = *self;
        QueueRegistersState { layout, enabled, vector }
    }
}

impl Registers {
    pub(crate) fn state(&self) -> RegistersState {
        let Self {
            offered,
            status: _,
            accepted,
            accepted_beyond,
            generation,
            device_feature_select,
            driver_feature_select,
            queue_select,
            queues,
        } = self;
        RegistersState {
            offered: *offered,
            accepted: [low_u64(*accepted), low_u64(*accepted >> 64)],
            accepted_beyond: *accepted_beyond,
            generation: *generation,
            device_feature_select: *device_feature_select,
            driver_feature_select: *driver_feature_select,
            queue_select: *queue_select,
            queues: queues.iter().map(QueueRegisters::state).collect(),
        }
    }

    /// Sets the registers. The status byte has been restored.
    ///
    /// # Errors
    /// When the device has other queues or lacks a feature, or no driver can set the
    /// registers in this way.
    pub(crate) fn restore(&mut self, state: &RegistersState) -> Result<(), StateError> {
        let RegistersState {
            offered,
            accepted: [low, high],
            accepted_beyond,
            generation,
            device_feature_select,
            driver_feature_select,
            queue_select,
            queues,
        } = state;
        self.accepted = u128::from(*low) | u128::from(*high) << 64;
        self.accepted_beyond = *accepted_beyond;
        self.check_features(*offered)?;
        self.generation = *generation;
        self.device_feature_select = *device_feature_select;
        self.driver_feature_select = *driver_feature_select;
        self.queue_select = *queue_select;
        self.restore_queues(queues)
    }

    /// Checks that the device offers what its driver relies on: the accepted features or,
    /// before FEATURES_OK, all that the driver has read.
    fn check_features(&self, offered: u64) -> Result<(), StateError> {
        let bits = self.status.bits();
        let needed = match (bits & FEATURES_OK != 0, bits & DRIVER != 0) {
            (true, _) => self.accepted,
            (false, true) => offered.into(),
            (false, false) => 0,
        };
        let missing = needed & !u128::from(self.offered);
        ensure(missing == 0, || {
            let bit = missing.trailing_zeros();
            format!("its driver uses feature bit {bit}, which the device does not offer here")
        })?;
        ensure(bits & FEATURES_OK == 0 || self.features_are_acceptable(), || {
            "the accepted features are not valid".to_string()
        })
    }

    fn restore_queues(&mut self, queues: &[QueueRegistersState]) -> Result<(), StateError> {
        ensure(queues.len() == self.queues.len(), || {
            let (saved, own) = (queues.len(), self.queues.len());
            format!("the state has {saved} queues, the device has {own}")
        })?;
        for (index, (own, saved)) in self.queues.iter_mut().zip(queues).enumerate() {
            let QueueRegistersState { layout, enabled, vector } = *saved;
            let (size, limit) = (layout.size, own.limit);
            ensure(size.is_power_of_two() && size <= limit, || {
                format!("queue {index} has {size} entries, of at most {limit}")
            })?;
            ensure(self.status.valid_vector(vector) == vector, || {
                format!("queue {index} has vector {vector}, which the device does not have")
            })?;
            (own.layout, own.enabled, own.vector) = (layout, enabled, vector);
        }
        Ok(())
    }
}
