//! `busless` reads from the disk. If the disk does not answer in time, the mode clears the disk's
//! bus master bit. It is for a disk that hangs; the vCPU then waits for the disk.

use super::bench::{Bench, Role};
use super::judge;
use super::pci::{COMMAND, MEMORY};
use crate::interrupts;
use crate::modes::Task;
use crate::ring::WRITE;
use crate::virtio::Virtio;

/// The length of a read request's header. All zeroes mean a read of the first sector. Data and
/// status follow.
const HEADER: u32 = 16;
const ANSWER: u32 = 512 + 1;

/// The mode `busless`. It ends when the disk answers.
pub(in crate::modes) fn busless(task: &Task<'_>) {
    interrupts::enable();
    let benches = Virtio::all().map(|(kind, device)| Bench::new(kind, device, task));
    for bench in benches {
        let disk = bench.targets().find(|target| target.role == Role::Block);
        let Some(disk) = disk else { continue };
        judge(&bench, "start", bench.start().map_err(|why| (0, why)));
        bench.buffer.write_bytes(0, &[0; HEADER as usize]);
        let data = bench.buffer.address() + u64::from(HEADER);
        let answered =
            bench.ask(disk, &[(bench.buffer.address(), HEADER, 0), (data, ANSWER, WRITE)]);
        if answered.is_err() {
            report!("busless: the disk does not answer");
            bench.device.function.write(COMMAND, MEMORY);
        }
    }
}
