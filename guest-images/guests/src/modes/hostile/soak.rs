//! `soak`: all virtio devices of the machine at work at the same time, and reset in the
//! midst of it, without an end: what [`super::storm`] does to one device after the other.
//! Every [`REPORT`] lives a line tells how many there were; the exit status is 1 if a device
//! writes or interrupts after its reset. What else happens is the host's affair.

use super::bench::Bench;
use super::storm::{end, rest, spin, work};
use crate::interrupts;
use crate::modes::Task;
use crate::virtio::Virtio;

/// More devices than any machine has that we are given.
const MOST: usize = 8;

/// The vector of the first device; the others have those that follow.
const FIRST_VECTOR: u8 = 52;

/// How long they work, in turns of a loop: some milliseconds.
const WORK: u32 = 200_000;

/// Lives from one line to the next.
const REPORT: u32 = 10;

/// All of it.
pub(in crate::modes) fn soak(task: &Task<'_>) {
    interrupts::enable();
    let mut benches = [const { None }; MOST];
    for ((to, vector), (kind, device)) in benches.iter_mut().zip(FIRST_VECTOR..).zip(Virtio::all())
    {
        device.msix.set(0, interrupts::message(vector));
        device.msix.enable(true);
        *to = Some((vector, Bench::new(kind, device, task)));
    }
    let all = || benches.iter().flatten();
    for life in 0_u32.. {
        for (_, bench) in all() {
            work(bench, life).unwrap_or_else(|why| end(bench, life, why));
        }
        spin(WORK);
        for (vector, bench) in all() {
            rest(bench, life, *vector).unwrap_or_else(|why| end(bench, life, why));
        }
        if life % REPORT == REPORT - 1 {
            report!("soak: {} lives", life + 1);
        }
    }
}
