//! The bus and its devices in a snapshot.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::{MOST, PciBus};
use crate::mutex;
use crate::state::{StateError, ensure};
use crate::virtio_pci::VirtioPciState;

/// The state of a [`PciBus`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PciBusState {
    /// The address register of the configuration mechanism.
    config_address: u32,
    /// The devices, in the order of their slots.
    devices: Vec<VirtioPciState>,
}

impl PciBus {
    /// Takes the state of the paused bus. [`Self::resume`] then works as without this.
    ///
    /// # Errors
    /// When a device is not paused; the text names the device and the thread.
    pub fn state(&self) -> Result<PciBusState, StateError> {
        // The window shows in the BAR of each device.
        let Self { window: _, config_address, devices } = self;
        let devices = devices.iter().map(|device| mutex::lock(device).state());
        Ok(PciBusState {
            config_address: config_address.load(Ordering::Acquire),
            devices: devices.collect::<Result<_, _>>()?,
        })
    }

    /// Sets the state of a bus with fresh devices, before the first vCPU runs, and leaves
    /// the devices paused. [`Self::resume`] starts them, and repeats each notification and
    /// interrupt that may have been under way.
    ///
    /// # Errors
    /// When the bus has other devices, or a device cannot have its state; the text names
    /// the device. The bus cannot be used then.
    pub fn restore(&self, state: &PciBusState) -> Result<(), StateError> {
        let PciBusState { config_address, devices } = state;
        ensure(devices.len() == self.devices.len(), || {
            let saved: Vec<_> = devices.iter().map(VirtioPciState::name).collect();
            let own: Vec<_> = self.devices.iter().map(|it| mutex::lock(it).name()).collect();
            let (saved, own) = (list(&saved), list(&own));
            format!("the state has {saved}, and this guest has {own}")
        })?;
        for (device, state) in self.devices.iter().zip(devices) {
            mutex::lock(device).restore(state)?;
        }
        self.config_address.store(*config_address, Ordering::Release);
        Ok(())
    }
}

/// The names of devices, with their number.
fn list(names: &[impl AsRef<str>]) -> String {
    // A forged state may have many, and long ones.
    let few = names.iter().take(MOST).map(|name| name.as_ref().chars().take(32));
    let few: Vec<String> = few.map(Iterator::collect).collect();
    match names.len() {
        0 => "no devices".to_string(),
        1 => format!("1 device ({})", few.join(", ")),
        count => format!("{count} devices ({})", few.join(", ")),
    }
}
