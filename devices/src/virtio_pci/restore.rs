//! Sets the state of a snapshot on a fresh device, which is then paused as the saved one was:
//! [`VirtioPci::resume`] starts it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::bus::Bus;
use super::{VirtioPci, VirtioPciState};
use crate::device::ConfigField;
use crate::queue_thread::{QueueThread, ServedQueueState};
use crate::registers::QueueRegisters;
use crate::state::{self, HexBytes, StateError, ensure};
use crate::status::{DRIVER_OK, FAILED};

impl VirtioPci {
    /// Sets the state of a fresh device, and leaves it paused. After an error the device
    /// cannot be used.
    ///
    /// # Errors
    /// When the state is that of another device, or of none.
    pub fn restore(&mut self, state: &VirtioPciState) -> Result<(), StateError> {
        let restored = self.set_state(state);
        restored.map_err(|error| error.of(self.status.name()))
    }

    fn set_state(&mut self, state: &VirtioPciState) -> Result<(), StateError> {
        let VirtioPciState {
            name,
            id,
            config_space,
            registers,
            status,
            msix,
            started,
            seen_config: HexBytes(seen_config),
            device,
            queues,
        } = state;
        let (own, own_id) = (self.status.name(), self.device.id());
        ensure(name == own, || format!("the state is that of {name:?}"))?;
        ensure(*id == own_id, || format!("device type {id} in the state, {own_id} here"))?;
        let fresh = self.status.bits() == 0 && self.threads.is_empty() && !self.bus.wired;
        ensure(fresh, || "the device is in use".to_string())?;

        self.status.hold();
        self.config_space.restore(config_space)?;
        self.status.restore(status)?;
        self.registers.restore(registers)?;
        self.msix.restore(msix)?;
        self.restore_config(seen_config)?;
        self.restore_device(*started, device)?;
        self.restore_queues(queues, *started)?;
        self.connect(*started);
        Ok(())
    }

    /// Compares the configuration that the driver has seen with the present one. If fields
    /// differ that may change, the driver gets a configuration interrupt.
    fn restore_config(&mut self, seen: &[u8]) -> Result<(), StateError> {
        let present = self.device.config();
        ensure(seen.len() == present.len(), || {
            let (saved, own) = (seen.len(), present.len());
            format!("the state has a configuration of {saved} bytes, the device has {own}")
        })?;
        let differs = |at: &usize| seen.get(*at) != present.get(*at);
        let fields = self.device.config_fields();
        for at in (0..present.len()).filter(differs) {
            let field = fields.iter().find(|field| field.at.contains(&at));
            let changes = field.is_some_and(|field| field.changes);
            ensure(changes, || difference(field, at, [seen, &present]))?;
        }
        if seen != present {
            self.status.interrupt_config(); // Pending until the device is resumed.
        }
        self.seen_config = seen.to_vec();
        Ok(())
    }

    /// Prepares the device for its driver, as at DRIVER_OK.
    fn restore_device(&self, started: bool, state: &Value) -> Result<(), StateError> {
        if !started {
            return state::expect_nothing(state);
        }
        let ready = self.status.bits() & DRIVER_OK != 0;
        ensure(ready, || "its queues were started before its driver was ready".to_string())?;
        let begun = self.device.begin(self.registers.accepted());
        begun.map_err(|error| StateError::new(format!("preparing the device: {error}")))?;
        self.device.restore(state)
    }

    /// Makes the queues that were served, with new services and without threads.
    fn restore_queues(
        &mut self,
        states: &[Option<ServedQueueState>],
        started: bool,
    ) -> Result<(), StateError> {
        ensure(states.len() == self.queues.len(), || {
            let (saved, own) = (states.len(), self.queues.len());
            format!("the state has {saved} queues, the device has {own}")
        })?;
        let served = started && self.config_space.bus_master() && self.status.bits() & FAILED == 0;
        let mut threads = Vec::new();
        for (index, state) in states.iter().enumerate() {
            let Some(state) = state else { continue };
            let who = || self.queues.get(index).map_or("", |slot| slot.name.as_str()).to_string();
            ensure(served, || format!("{} was served by a device that did not run", who()))?;
            let queue = self.restore_queue(index, state);
            threads.push(queue.map_err(|error| error.of(&who()))?);
        }
        self.interrupts = self.interrupts_to_repeat(states);
        self.threads = threads;
        Ok(())
    }

    fn restore_queue(
        &self,
        index: usize,
        state: &ServedQueueState,
    ) -> Result<QueueThread, StateError> {
        let (slot, registers) = (self.queues.get(index), self.registers.queues().get(index));
        let Some((slot, registers)) = slot.zip(registers).filter(|(_, it)| it.enabled) else {
            return Err(StateError::new("the queue was served and is not enabled"));
        };
        let host = |error: std::io::Error| StateError::new(error.to_string());
        let queue = self.make_queue(slot, registers);
        let queue = queue.map_err(|error| StateError::new(error.to_string()))?;
        let mut queue = self.serve_queue(index, slot, queue).map_err(host)?;
        queue.restore(state)?;
        // A notification that was under way is in no state.
        let _ = slot.doorbell.write(1);
        Ok(QueueThread::paused(Box::new(queue)))
    }

    /// The vectors to signal when the device is resumed: an interrupt that was under way is
    /// in no state. The vector of a queue whose driver is being probed is not signalled,
    /// unless something else uses it: no interrupt of that queue was sent, and it would
    /// make the driver answer before it is ready.
    fn interrupts_to_repeat(&self, states: &[Option<ServedQueueState>]) -> Vec<u16> {
        let vectors = self.registers.queues().iter().zip(states);
        let quiet = |state: &Option<ServedQueueState>| {
            state.as_ref().is_some_and(ServedQueueState::is_quiet)
        };
        let (probed, others): (Vec<_>, Vec<_>) =
            vectors.partition(|(queue, state)| queue.enabled && quiet(state));
        let vectors_of = |queues: Vec<(&QueueRegisters, _)>| {
            queues.into_iter().map(|(queue, _)| queue.vector).collect::<BTreeSet<u16>>()
        };
        let mut others = vectors_of(others);
        others.insert(self.status.config_vector());
        let probed = vectors_of(probed);
        let all = 0..self.status.vectors();
        all.filter(|vector| !probed.contains(vector) || others.contains(vector)).collect()
    }

    /// Wires the doorbells and connects the vectors, as the command register says.
    fn connect(&mut self, started: bool) {
        let (memory, master) = (self.config_space.memory_enabled(), self.config_space.bus_master());
        self.bus = Bus { wired: memory, master, started };
        if memory {
            self.wire_doorbells(true);
        }
        self.msix.set_control(self.config_space.msix_control(), master);
    }
}

/// The message about a field or a byte of the configuration that differs.
fn difference(field: Option<&ConfigField>, at: usize, [saved, own]: [&[u8]; 2]) -> String {
    let (name, range) =
        field.map_or(("a byte", at..at + 1), |field| (field.name, field.at.clone()));
    let hex = |bytes: &[u8]| {
        String::from(HexBytes(bytes.get(range.clone()).unwrap_or_default().to_vec()))
    };
    let (at, saved, own) = (range.start, hex(saved), hex(own));
    format!(
        "{name} of its configuration (from byte {at} on) was {saved} in hexadecimal, and is {own} here"
    )
}
