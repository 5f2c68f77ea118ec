//! The console device (virtio 1.2, 5.3): one port, no multiport. The guest's output goes
//! to `output`, and its input comes from `input`. The launcher connects these to the
//! user's terminal, a pipe, or something else.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;

use crate::device::{ConfigField, Device, QueueSpec, Service};
use crate::error::ServeError;
use crate::number::{index, u16_constant};
use crate::request::Request;
use crate::state::{self, StateError};
use crate::sys;

/// VIRTIO_CONSOLE_F_SIZE: the configuration contains columns and rows (5.3.3).
const F_SIZE: u64 = 1 << 0;

/// The fields of struct virtio_console_config (5.3.4).
const CONFIG_FIELDS: [ConfigField; 1] = [ConfigField::variable("size", 0..4)];

/// The size of the console's window, which may change at any time.
#[derive(Debug, Default)]
pub struct WindowSize(AtomicU32);

impl WindowSize {
    /// Sets the size that the guest reads from now on.
    pub fn set(&self, columns: u16, rows: u16) {
        self.0.store(u32::from(columns) | u32::from(rows) << 16, Ordering::Release);
    }

    /// The size that the guest reads: columns and rows.
    #[must_use]
    pub fn get(&self) -> (u16, u16) {
        let [a, b, c, d] = self.to_config();
        (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
    }

    /// Returns `cols` and `rows` of struct virtio_console_config, little-endian.
    fn to_config(&self) -> [u8; 4] {
        self.0.load(Ordering::Acquire).to_le_bytes()
    }
}

/// A console.
pub struct Console<Output> {
    /// The guest's input. The device reads it when the guest has provided room. A read
    /// blocks while there is no input, and the input never ends.
    pub input: File,
    /// Makes the writer for the guest's output.
    pub output: Output,
    /// The size of the console's window.
    pub size: Arc<WindowSize>,
}

impl<Output, Sink> Device for Console<Output>
where
    Output: Fn() -> Sink + Send,
    Sink: Write + Send + 'static,
{
    fn id(&self) -> u16 {
        const { u16_constant(VIRTIO_ID_CONSOLE) }
    }

    fn queues(&self) -> Vec<QueueSpec> {
        vec![QueueSpec::new("rx", 64), QueueSpec::new("tx", 64)]
    }

    fn features(&self) -> u64 {
        F_SIZE
    }

    fn config(&self) -> Vec<u8> {
        let mut config = self.size.to_config().to_vec();
        // max_nr_ports and emerg_wr belong to features that we do not offer.
        config.resize(12, 0);
        config
    }

    fn config_fields(&self) -> &'static [ConfigField] {
        &CONFIG_FIELDS
    }

    fn service(&self, queue: usize, _accepted: u64) -> io::Result<Box<dyn Service>> {
        match queue {
            0 => Ok(Box::new(ConsoleReceive { input: self.input.try_clone()? })),
            _ => Ok(Box::new(ConsoleTransmit { output: (self.output)(), printed: 0 })),
        }
    }
}

/// The service of "con0-rx": input for the guest.
struct ConsoleReceive {
    input: File,
}

impl Service for ConsoleReceive {
    fn serve(&mut self, request: &mut Request<'_>) -> Result<(), ServeError> {
        request.expect_nothing_from_guest()?;
        if request.to_guest.is_empty() {
            return Ok(());
        }
        if request.to_guest.read_from(self.input.as_fd())? == 0 {
            sys::pause(); // The input has ended, but the console must not.
            return Err(ServeError::Interrupted);
        }
        Ok(())
    }

    /// Nothing was read for a request that was put back.
    fn state(&self) -> Result<Value, StateError> {
        let Self { input: _ } = self;
        Ok(Value::Null)
    }

    fn probes_driver(&self) -> Option<BorrowedFd<'_>> {
        Some(self.input.as_fd())
    }

    fn may_block(&self, _request: &Request<'_>) -> bool {
        true
    }
}

/// What [`ConsoleTransmit`] keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsoleTransmitState {
    printed: u32,
}

/// The service of "con0-tx": the guest's output.
struct ConsoleTransmit<Sink> {
    output: Sink,
    /// Bytes of the next request that were written before it was put back.
    printed: u32,
}

impl<Sink: Write + Send> Service for ConsoleTransmit<Sink> {
    fn serve(&mut self, request: &mut Request<'_>) -> Result<(), ServeError> {
        request.expect_nothing_to_guest()?;
        let printed = std::mem::take(&mut self.printed);
        request.from_guest.consume(index(printed));
        let mut bytes = [0; 4096];
        let count = request.from_guest.peek(&mut bytes);
        if count == 0 {
            return Ok(());
        }
        match self.output.write(bytes.get(..count).unwrap_or_default())? {
            0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            written => request.from_guest.consume(written),
        }
        // The rest may be gigabytes: look in between whether the thread has to stop.
        if request.from_guest.is_empty() { Ok(()) } else { Err(ServeError::Again) }
    }

    fn requeue(&mut self, request: &Request<'_>) {
        self.printed += request.from_guest.done();
    }

    fn state(&self) -> Result<Value, StateError> {
        let Self { output: _, printed } = self;
        state::to_value(ConsoleTransmitState { printed: *printed })
    }

    fn restore(&mut self, state: &Value) -> Result<(), StateError> {
        let ConsoleTransmitState { printed } = state::from_value(state)?;
        self.printed = printed;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
