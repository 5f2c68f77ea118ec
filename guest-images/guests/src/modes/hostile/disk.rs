//! `disk=N` uses the first disk honestly. It prints `disk had M`, the number in [`OUR_SECTOR`],
//! writes N there, discards [`DISCARDED`], flushes, checks what it reads, and prints `disk has N`.
//! Another answer of the disk ends the mode as `hostile` does. Options: `stay`.

use super::bench::{Bench, Outcome, Target, ok_if};
use super::honest::{OUR_SECTOR, block, write_and_read};
use super::judge;
use crate::modes::{Task, console};
use crate::ring::WRITE;
use crate::virtio::Virtio;
use crate::{interrupts, ports};

/// The sector that is discarded.
const DISCARDED: u64 = 40;

/// The device type of a disk, and requests to it (5.2.6).
const BLOCK: u16 = 2;
const IN: u32 = 0;
const FLUSH: u32 = 4;
const DISCARD: u32 = 11;

/// The mode `disk=N`.
pub(in crate::modes) fn disk(task: &Task<'_>) {
    let number: u32 = task.number();
    interrupts::enable();
    let Some(device) = Virtio::find(BLOCK) else { fail!("probe: no disk") };
    let bench = Bench::new(BLOCK, device, task);
    let outcome = bench.start().and_then(|()| {
        let target = bench.targets().next().ok_or("has no queue")?;
        report!("disk had {}", number_in(&bench, target, OUR_SECTOR)?);
        write_and_read(&bench, target, number)?;
        discard(&bench, target)?;
        ok_if(block(&bench, target, FLUSH, 0, &[])? == 0, "does not flush")?;
        report!("disk has {}", number_in(&bench, target, OUR_SECTOR)?);
        Ok(())
    });
    judge(&bench, "nothing", outcome.map_err(|why| (0, why)));
    if task.arguments.has("stay") {
        console::echo(task);
    }
    ports::exit(0);
}

/// Reads the number at the beginning of a sector.
fn number_in(bench: &Bench, target: &Target, sector: u64) -> Result<u32, &'static str> {
    let data = bench.buffer.part(4096, 512);
    data.clear();
    let status = block(bench, target, IN, sector, &[(data.address(), 512, WRITE)])?;
    ok_if(status == 0, "cannot be read")?;
    Ok(data.read(0))
}

fn discard(bench: &Bench, target: &Target) -> Outcome {
    let extent = bench.buffer.part(8192, 16);
    extent.write(0, DISCARDED);
    extent.write(8, 1_u32);
    extent.write(12, 0_u32);
    let status = block(bench, target, DISCARD, 0, &[(extent.address(), 16, 0)])?;
    ok_if(status == 0, "does not discard")?;
    ok_if(number_in(bench, target, DISCARDED)? == 0, "still has what was discarded")
}
