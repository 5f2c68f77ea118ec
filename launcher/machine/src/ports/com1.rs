//! COM1, for output only: a 16550A of the crate vm-superio.

use std::convert::Infallible;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use devices::mutex::lock;
use devices::number::low_u8;
use serde::{Deserialize, Serialize};
use vm_superio::serial::{NoEvents, SerialState};
use vm_superio::{Serial, Trigger};

use super::COM1;
use crate::rtc::RaiseInterrupt;

/// The bit of the interrupt enable register for "the transmitter's register is empty".
const TRANSMITTER_EMPTY: u8 = 1 << 1;

/// The registers of COM1, by their names in the 16550's data sheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Com1State(#[serde(with = "SerialStateFields")] SerialState);

/// The fields of [`SerialState`], for serde.
#[derive(Serialize, Deserialize)]
#[serde(remote = "SerialState", deny_unknown_fields)]
struct SerialStateFields {
    baud_divisor_low: u8,
    baud_divisor_high: u8,
    interrupt_enable: u8,
    interrupt_identification: u8,
    line_control: u8,
    line_status: u8,
    modem_control: u8,
    modem_status: u8,
    scratch: u8,
    /// Bytes that the guest has sent to itself (loopback) and has not read.
    in_buffer: Vec<u8>,
}

/// The serial port's interrupt.
#[derive(Clone)]
struct InterruptLine(Arc<RaiseInterrupt>);

impl Trigger for InterruptLine {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        (self.0)();
        Ok(())
    }
}

type Output = Box<dyn Write + Send>;

/// COM1, output only.
pub struct Com1 {
    line: InterruptLine,
    serial: Mutex<Serial<InterruptLine, NoEvents, Output>>,
}

impl Com1 {
    /// A serial port whose interrupt `raise` raises. vCPU threads write what the guest sends to
    /// `output`, which must not wait for a reader.
    pub fn new(raise: RaiseInterrupt, output: Output) -> Self {
        let line = InterruptLine(Arc::new(raise));
        let serial = Mutex::new(Serial::new(line.clone(), output));
        Self { line, serial }
    }

    /// The registers, for a snapshot.
    pub(super) fn state(&self) -> Com1State {
        Com1State(lock(&self.serial).state())
    }

    /// Set the registers, and raise the interrupt again if the guest may wait for one: the driver
    /// of a port that sends waits for nothing else.
    ///
    /// # Errors
    /// When the buffer of the state is larger than that of the port, which is then of no use.
    pub(super) fn restore(&self, Com1State(state): &Com1State) -> Result<()> {
        let mut serial = lock(&self.serial);
        let line = || self.line.clone();
        let fresh = Serial::new(line(), Box::new(io::sink()) as Output);
        let output = mem::replace(&mut *serial, fresh).into_writer();
        *serial = Serial::from_state(state, line(), NoEvents, output)?;
        if state.interrupt_enable & TRANSMITTER_EMPTY != 0 {
            (self.line.0)();
        }
        Ok(())
    }

    pub(super) fn read(&self, port: u16) -> u8 {
        lock(&self.serial).read(register(port))
    }

    pub(super) fn write(&self, port: u16, byte: u8) {
        // Errors are those of the output: none is the guest's.
        let _ = lock(&self.serial).write(register(port), byte);
    }
}

fn register(port: u16) -> u8 {
    low_u8(port.wrapping_sub(COM1.start))
}
