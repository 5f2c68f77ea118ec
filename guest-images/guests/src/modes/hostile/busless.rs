//! `busless`: reads from the disk and, when that has not answered in time, takes the bus
//! from it. For a disk that hangs: the vCPU waits for it then.

use super::bench::{Bench, Role};
use super::judge;
use super::pci::{COMMAND, MEMORY};
use crate::interrupts;
use crate::modes::Task;
use crate::ring::WRITE;
use crate::virtio::Virtio;

/// A read is a header, all zeroes for the first sector, and then room for data and status.
const HEADER: u32 = 16;
const ANSWER: u32 = 512 + 1;

/// It ends when the disk goes on.
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
