//! `soak` keeps all virtio devices of the machine busy at the same time, and resets them while they
//! work, without end. It does to all devices what [`super::storm`] does to one after the other.
//! Every [`REPORT`] lives it prints how many there were. The exit status is 1 if a device writes to
//! memory or interrupts after its reset. The host's side of the test does the rest.

use super::bench::Bench;
use super::storm::{end, rest, spin, work};
use crate::interrupts;
use crate::modes::Task;
use crate::virtio::Virtio;

/// More devices than the machine of any test has.
const MOST: usize = 8;

/// The vector of the first device. The other devices use the following ones.
const FIRST_VECTOR: u8 = 52;

/// How long the devices work, in turns of a loop: some milliseconds.
const WORK: u32 = 200_000;

/// The number of lives between two lines of output.
const REPORT: u32 = 10;

/// The mode `soak`.
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
