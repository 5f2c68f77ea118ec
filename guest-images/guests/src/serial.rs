//! COM1, output only: reports for the person who examines a test. Without `--earlycon` the port
//! does not exist, and output is lost.

use core::fmt;

use crate::ports;

/// The transmit holding register, the line status, and its bit "holding register empty".
const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = 0x3fd;
const EMPTY: u8 = 1 << 5;

/// The serial port COM1.
pub(crate) struct Serial;

impl Serial {
    /// Writes bytes unchanged.
    pub(crate) fn write(&self, bytes: &[u8]) {
        for byte in bytes {
            // A port that does not exist reads as all ones, which includes this bit.
            while ports::read::<u8>(LINE_STATUS) & EMPTY == 0 {}
            ports::write(DATA, *byte);
        }
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

/// Prints a line on COM1.
macro_rules! report {
    ($($argument:tt)*) => {{
        use core::fmt::Write;
        // A write to the port cannot fail.
        let _ = writeln!(crate::serial::Serial, $($argument)*);
    }};
}

/// Prints why the guest cannot do what it was told, and ends it.
macro_rules! fail {
    ($($argument:tt)*) => {{
        report!($($argument)*);
        crate::ports::exit(crate::ports::EXIT_FAILED)
    }};
}
