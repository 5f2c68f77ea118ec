//! MSI-X (PCI 3.0, 6.8.2): the table in which the driver sets the message of each vector,
//! and masks it. While the device is not bus master, all vectors are masked. An unmasked
//! vector is connected to the [`Machine`]. The eventfd of a masked vector is not
//! connected: its counter is the pending bit, and the machine sends the message when the
//! vector is connected again.

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use crate::interrupt::{Machine, MsiMessage};
use crate::log_interval::BY_GUEST;
use crate::number::index;

mod state;

pub(crate) use state::MsixState;

/// Bytes of a table entry: address (8), data (4), vector control (4).
pub(crate) const ENTRY: u64 = 16;

/// Message control: MSI-X is on.
pub(crate) const ENABLE: u16 = 1 << 15;
/// Message control: every vector is masked.
pub(crate) const FUNCTION_MASK: u16 = 1 << 14;

struct Vector {
    event: Arc<EventFd>,
    line: u32,
    message: MsiMessage,
    /// Vector control as written; bit 0 is the mask.
    control: u32,
    /// The message that the machine sends, while the vector is connected.
    connected: Option<MsiMessage>,
}

/// The table and the pending bits of one function.
pub(crate) struct Msix {
    machine: Arc<dyn Machine>,
    vectors: Vec<Vector>,
    control: u16,
    /// Whether the device is bus master: a message is a write to memory.
    master: bool,
    /// A message that cannot be sent has been logged: once is enough.
    warned: bool,
}

impl Msix {
    /// A table with one vector for each eventfd.
    pub(crate) fn new(events: &[Arc<EventFd>], machine: Arc<dyn Machine>) -> Self {
        let fresh = |event: &Arc<EventFd>| Vector {
            event: Arc::clone(event),
            line: machine.new_line(),
            message: MsiMessage::default(),
            control: 1,
            connected: None,
        };
        let vectors = events.iter().map(fresh).collect();
        Self { machine, vectors, control: 0, master: false, warned: false }
    }

    /// Applies the message control register of the capability, and whether the device is
    /// bus master. An interrupt that cannot be sent stays pending.
    pub(crate) fn set_control(&mut self, control: u16, master: bool) {
        (self.control, self.master) = (control, master);
        for index in 0..self.vectors.len() {
            self.rewire(index);
        }
    }

    /// Reads 32 bits of the table.
    pub(crate) fn read_table(&self, at: u64) -> u32 {
        let Some(vector) = self.vectors.get(index(at / ENTRY)) else { return 0 };
        let [low, high] = split(vector.message.address);
        match at % ENTRY {
            0 => low,
            4 => high,
            8 => vector.message.data,
            12 => vector.control,
            _ => 0,
        }
    }

    /// Writes 32 bits of the table; narrower accesses have no effect.
    pub(crate) fn write_table(&mut self, at: u64, dword: &[u8]) {
        let Ok(value) = dword.try_into().map(u32::from_le_bytes) else { return };
        let entry = index(at / ENTRY);
        let Some(vector) = self.vectors.get_mut(entry) else { return };
        let [low, high] = split(vector.message.address);
        match at % ENTRY {
            0 => vector.message.address = u64::from(high) << 32 | u64::from(value & !3),
            4 => vector.message.address = u64::from(value) << 32 | u64::from(low),
            8 => vector.message.data = value,
            12 => vector.control = value & 1,
            _ => return,
        }
        self.rewire(entry);
    }

    /// Reads 32 pending bits.
    pub(crate) fn read_pending(&self, at: u64) -> u32 {
        let first = index(at).saturating_mul(8);
        let bits = (0..32).filter(|bit| self.is_pending(first.saturating_add(*bit)));
        bits.fold(0, |bits, bit| bits | 1 << bit)
    }

    /// Discards pending interrupts.
    pub(crate) fn clear_pending(&self) {
        for vector in self.vectors.iter().filter(|vector| vector.connected.is_none()) {
            let _ = vector.event.read(); // Does not block; an error means that none is pending.
        }
    }

    fn is_pending(&self, index: usize) -> bool {
        let Some(vector) = self.vectors.get(index) else { return false };
        // Reading the counter clears it. No other thread reads it while it is disconnected.
        vector.connected.is_none()
            && vector.event.read().is_ok_and(|count| {
                let _ = vector.event.write(count);
                true
            })
    }

    /// Connects or disconnects a vector, as the table says.
    fn rewire(&mut self, index: usize) {
        let live = self.master && self.control & (ENABLE | FUNCTION_MASK) == ENABLE;
        let Some(vector) = self.vectors.get_mut(index) else { return };
        let wanted = (live && vector.control & 1 == 0).then_some(vector.message);
        if wanted == vector.connected {
            return;
        }
        if vector.connected.take().is_some() {
            self.machine.disconnect(vector.line, &vector.event);
        }
        let Some(message) = wanted else { return };
        // KVM sends a pending interrupt when the eventfd is connected, but leaves it in the
        // counter, where it would be pending again. So write it when KVM listens.
        let pending = vector.event.read().is_ok();
        match self.machine.connect(vector.line, &vector.event, message) {
            Ok(()) => vector.connected = Some(message),
            Err(error) if !self.warned => {
                let MsiMessage { address, data } = message;
                log::warn!(
                    target: BY_GUEST,
                    "interrupt to {address:#x} with data {data:#x}: {error}; not delivered"
                );
                self.warned = true;
            }
            Err(_) => {}
        }
        if pending {
            let _ = vector.event.write(1);
        }
    }
}

/// Returns the low and the high half of a number.
fn split(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests;
