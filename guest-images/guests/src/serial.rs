//! COM1, output only: reports for the person who looks into a test. Without
//! `--earlycon` there is no such port, and what is written is lost.

use core::fmt;

use crate::ports;

/// Transmit holding register, line status, and its bit "holding register empty".
const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = 0x3fd;
const EMPTY: u8 = 1 << 5;

/// The port.
pub(crate) struct Serial;

impl Serial {
    /// Write bytes as they are.
    pub(crate) fn write(&self, bytes: &[u8]) {
        for byte in bytes {
            // A port that does not exist reads as all ones: empty, too.
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

/// Print a line on COM1.
macro_rules! report {
    ($($argument:tt)*) => {{
        use core::fmt::Write;
        // A port does not fail.
        let _ = writeln!(crate::serial::Serial, $($argument)*);
    }};
}

/// The guest cannot do what it was told: say why, and end.
macro_rules! fail {
    ($($argument:tt)*) => {{
        report!($($argument)*);
        crate::ports::exit(crate::ports::EXIT_FAILED)
    }};
}
