//! Drops the frames that wait in a tap at DRIVER_OK, before the queues have threads: they were
//! sent to an earlier driver.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;

use crate::sys;

/// The most frames to read. A tap keeps fewer (`txqueuelen` is 1000 by default), so this many
/// include all old frames, however fast new ones arrive.
const MOST: usize = 1 << 16;

/// Bytes to read of each frame. The tap discards the rest.
const PART: usize = 64;

/// Reads all frames that wait in `tap`.
pub(super) fn drain(tap: &File) {
    for _ in 0..MOST {
        match read_waiting(tap) {
            Ok(true) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // All frames have been read, or the interface was deleted.
            Ok(false) | Err(_) => break,
        }
    }
}

/// Reads one frame. Returns false if none waits.
fn read_waiting(mut tap: &File) -> io::Result<bool> {
    let [ready] = sys::poll([tap.as_fd()], 0)?;
    Ok(ready && tap.read(&mut [0; PART])? > 0)
}
