//! Frames that wait in a tap when a driver becomes ready were sent to the driver before it: they
//! are dropped at DRIVER_OK, before the queues have threads.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;

use crate::sys;

/// More frames than a tap keeps (`txqueuelen` is 1000, where nobody has changed it). After
/// so many all that were there before have been read, however fast others come.
const MOST: usize = 1 << 16;

/// As much of a frame is looked at; the tap loses what finds no room.
const PART: usize = 64;

/// Read all that is there.
pub(super) fn drain(tap: &File) {
    for _ in 0..MOST {
        match read_waiting(tap) {
            Ok(true) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // None is left; or the interface was deleted, and has none.
            Ok(false) | Err(_) => break,
        }
    }
}

/// Read one frame, if there is one.
fn read_waiting(mut tap: &File) -> io::Result<bool> {
    let [ready] = sys::poll([tap.as_fd()], 0)?;
    Ok(ready && tap.read(&mut [0; PART])? > 0)
}
