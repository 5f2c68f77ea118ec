//! A device in a snapshot: its state is taken while the device is paused. `restore` has the way
//! back.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::VirtioPci;
use super::bus::Bus;
use crate::config_space::ConfigSpaceState;
use crate::msix::MsixState;
use crate::queue_thread::{QueueThread, ServedQueueState};
use crate::registers::RegistersState;
use crate::state::{HexBytes, StateError, ensure};
use crate::status::{DeviceStatusState, FAILED};

/// The state of a [`VirtioPci`] device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtioPciState {
    /// The device's name: "blk0".
    pub(super) name: String,
    /// The device type of virtio 1.2, section 5.
    pub(super) id: u16,
    pub(super) config_space: ConfigSpaceState,
    pub(super) registers: RegistersState,
    pub(super) status: DeviceStatusState,
    pub(super) msix: MsixState,
    /// The queues have been started since the last reset.
    pub(super) started: bool,
    /// The device-specific configuration that the driver has read last.
    pub(super) seen_config: HexBytes,
    /// What the device itself keeps while its queues are started, else null.
    pub(super) device: Value,
    /// One entry for each queue; null for a queue that is not served.
    pub(super) queues: Vec<Option<ServedQueueState>>,
}

impl VirtioPciState {
    /// The device's name: "blk0".
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl VirtioPci {
    /// Takes the state of a paused device. A reset that has begun is finished before.
    ///
    /// # Errors
    /// When the device is not paused, or a reset waits for a thread.
    pub fn state(&mut self) -> Result<VirtioPciState, StateError> {
        let state = self.take_state();
        state.map_err(|error| error.of(self.status.name()))
    }

    fn take_state(&mut self) -> Result<VirtioPciState, StateError> {
        ensure(self.status.is_held(), || "the device is not paused".to_string())?;
        if !self.wait_reset_done(Duration::ZERO) {
            let names: Vec<_> = self.threads().collect();
            let names = names.join(", ");
            return Err(StateError::new(format!("a reset waits for thread {names}")));
        }
        let queues = self.served_queues()?;
        let Self {
            device,
            memory: _,
            machine: _,
            status,
            registers,
            config_space,
            msix,
            bus: Bus { wired: _, master: _, started },
            seen_config,
            queues: _,
            threads: _,
            resetting: _,
            interrupts: _,
        } = self;
        Ok(VirtioPciState {
            name: status.name().to_string(),
            id: device.id(),
            config_space: config_space.state(),
            registers: registers.state(),
            status: status.state(),
            msix: msix.state(),
            started: *started,
            seen_config: HexBytes(seen_config.clone()),
            device: if *started { device.state()? } else { Value::Null },
            queues,
        })
    }

    /// The state of each queue that is served. The threads keep the queues.
    fn served_queues(&mut self) -> Result<Vec<Option<ServedQueueState>>, StateError> {
        // A driver that has given the device up does not get its threads back.
        if self.status.bits() & FAILED != 0 {
            self.threads.retain(|thread| !thread.has_ended());
        }
        let threads = &mut self.threads;
        let mut state = |name: &str| {
            let thread = threads.iter_mut().find(|thread| thread.name() == name);
            thread.map_or(Ok(None), QueueThread::state)
        };
        self.queues.iter().map(|slot| state(&slot.name)).collect()
    }
}
