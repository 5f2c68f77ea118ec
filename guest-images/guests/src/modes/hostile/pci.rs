//! Attacks by the PCI configuration space (PCI 3.0, 6.1; virtio 1.2, 4.1.4.9): a moved BAR, a
//! disabled device, and wrong values for the window into the BAR.

use super::bench::{Bench, Outcome, Role, Target, ok_if};
use super::{Attack, on_all, rings};
use crate::ports;
use crate::virtio::offset;
use crate::{interrupts, start};

/// Subsystem vendor and device.
const SUBSYSTEM: u8 = 0x2c;

/// Offsets in the header, and bits of the command register.
pub(super) const COMMAND: u8 = 0x04;
const BAR0: u8 = 0x10;
pub(super) const MEMORY: u32 = 1 << 1;
const MASTER: u32 = 1 << 2;

/// The capability VIRTIO_PCI_CAP_PCI_CFG, and offsets in it.
const VENDOR_CAPABILITY: u8 = 0x09;
const PCI_CFG: u8 = 5;

pub(super) const ATTACKS: &[Attack] = &[
    Attack { name: "bar-moved", on: Role::answers, run: move_bar },
    on_all("decode-off", decode_off),
    on_all("bus-master-off", master_off),
    on_all("bus-master-back", master_back),
    Attack { name: "bus-master-late", on: Role::answers, run: master_late },
    Attack { name: "doorbell-without-memory", on: Role::answers, run: dead_doorbell },
    on_all("subsystem", subsystem),
    on_all("window-bent", window),
    on_all("configuration-space-filled", fill_space),
];

/// Moves the BAR onto RAM, onto the next device, and onto nothing. The BAR does not move, and the
/// device works.
fn move_bar(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let function = bench.device.function;
    let before = function.read(BAR0);
    for place in [0, 0x10_0000, before ^ 0x8000, 0xfee0_0000, 0xffff_8000, 0xffff_fff0] {
        function.write(BAR0, place);
        ok_if(function.read(BAR0) == before, "lets its BAR be moved")?;
    }
    function.write(BAR0, u32::MAX);
    rings::fill(bench, target);
    target.offer_head(0);
    bench.expect_used(target, 1)?;
    function.write(BAR0, before);
    Ok(())
}

/// Without memory decoding the registers disappear, and come back unchanged.
fn decode_off(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let (function, before) = (bench.device.function, bench.device.status());
    function.write(COMMAND, MASTER);
    let gone = bench.device.status() == 0xff;
    bench.device.set_status(0);
    target.notify();
    function.write(COMMAND, MEMORY | MASTER);
    ok_if(gone, "answers with its memory switched off")?;
    ok_if(bench.device.status() == before, "takes writes with its memory switched off")
}

/// A device that is not bus master must not access memory.
fn master_off(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let function = bench.device.function;
    function.write(COMMAND, MEMORY);
    rings::fill(bench, target);
    target.offer_head(0);
    let _ = (0..20).all(|_| bench.device.status() != 0); // Time passes.
    let silent = target.ring.used_index() == 0;
    function.write(COMMAND, MEMORY | MASTER);
    ok_if(silent, "writes into memory though it is not bus master")
}

/// A live device that lost the bus needs a reset (2.1.2). Its status says so at once, but its
/// interrupt is a write to memory as well, and comes when the device has the bus again.
fn master_back(bench: &Bench, target: &Target) -> Outcome {
    let (device, function) = (&bench.device, bench.device.function);
    bench.prepare()?;
    device.msix.set(0, interrupts::message(interrupts::CONFIG));
    device.msix.enable(true);
    device.set_config_vector(0);
    bench.go();
    rings::fill(bench, target);
    let before = start::count(interrupts::CONFIG);
    function.write(COMMAND, MEMORY);
    target.offer_head(0);
    let told = bench.expect_broken();
    let early = start::count(interrupts::CONFIG) != before;
    function.write(COMMAND, MEMORY | MASTER);
    let late = (0..1000).any(|_| {
        let _ = device.status(); // Time passes.
        start::count(interrupts::CONFIG) != before
    });
    device.msix.enable(false);
    device.msix.mask(0, true);
    told?;
    ok_if(!early, "interrupts though it is not bus master")?;
    ok_if(late, "does not interrupt when it needs a reset")?;
    ok_if(target.ring.used_index() == 0, "serves though it needs a reset")
}

/// A driver may make the device bus master after DRIVER_OK. The device works from then on.
fn master_late(bench: &Bench, target: &Target) -> Outcome {
    let function = bench.device.function;
    bench.prepare()?;
    function.write(COMMAND, MEMORY);
    bench.go();
    rings::fill(bench, target);
    target.offer_head(0);
    let _ = (0..20).all(|_| bench.device.status() != 0); // Time passes.
    let silent = target.ring.used_index() == 0;
    function.write(COMMAND, MEMORY | MASTER);
    ok_if(silent, "goes live though it is not bus master")?;
    bench.expect_used(target, 1)
}

/// Doorbells are part of the device's memory, and do not exist without memory decoding. The device
/// may look into the ring by itself before it sleeps, but not each time.
fn dead_doorbell(bench: &Bench, target: &Target) -> Outcome {
    let function = bench.device.function;
    for _ in 0..50 {
        bench.start()?;
        rings::fill(bench, target);
        target.offer_head(0);
        bench.expect_used(target, 1)?;
        let _ = (0..50).all(|_| bench.device.status() != 0); // Time passes.
        function.write(COMMAND, MASTER);
        target.offer_head(0);
        let _ = (0..20).all(|_| bench.device.status() != 0); // Time passes.
        let silent = target.ring.used_index() == 1;
        function.write(COMMAND, MEMORY | MASTER);
        target.notify();
        bench.expect_used(target, 2)?;
        if silent {
            return Ok(());
        }
    }
    Err("hears a doorbell with its memory switched off")
}

/// 4.1.2.1: the subsystem ID does not match a legacy driver.
fn subsystem(bench: &Bench, _target: &Target) -> Outcome {
    let [_, _, low, high] = bench.device.function.read(SUBSYSTEM).to_le_bytes();
    ok_if(u16::from_le_bytes([low, high]) >= 0x40, "has the subsystem of a legacy device")
}

/// Writes forbidden offsets and lengths into the window, then resets the device through it.
fn window(bench: &Bench, _target: &Target) -> Outcome {
    bench.start()?;
    let function = bench.device.function;
    let mut all = function.capabilities().filter(|found| found.id == VENDOR_CAPABILITY);
    let window = all.find(|found| function.read(found.at).to_le_bytes()[3] == PCI_CFG);
    let Some(window) = window else { return Err("has no window") };
    let status = u32::try_from(offset::DEVICE_STATUS).unwrap_or(0);
    let bend = |bar: u32, place: u32, length: u32| {
        function.write(window.at + 4, bar);
        function.write(window.at + 8, place);
        function.write(window.at + 12, length);
    };
    for (bar, place, length) in [
        (1, status, 1),
        (0xff, status, 1),
        (0, status, 0),
        (0, status, 3),
        (0, status, 8),
        (0, status, u32::MAX),
        (0, status | 1, 4),
        (0, 0x8000, 4),
        (0, 0xffff_fffc, 4),
        (0, u32::MAX, 1),
    ] {
        bend(bar, place, length);
        let _ = function.read(window.at + 16);
        function.write(window.at + 16, 0);
    }
    ok_if(bench.device.status() != 0, "is reset by a window that must not be")?;
    bend(0, status, 1);
    function.write(window.at + 16, 0);
    bend(0, 0, 0);
    // 4.1.4.3.2: a reset may take its time, for example on a busy host.
    while bench.device.status() != 0 {}
    Ok(())
}

/// Writes all ones everywhere except to the command register, in all widths.
fn fill_space(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let function = bench.device.function;
    let before = [0, 8, 0x2c, 0x34].map(|at| function.read(at));
    for at in (8..0x100).step_by(4) {
        let at = u8::try_from(at).unwrap_or(0);
        let was = function.read(at);
        function.write(at, u32::MAX);
        ports::write(0xcfd, 0xffff_u16);
        ports::write(0xcff, 0xff_u8);
        function.write(at, was);
    }
    let after = [0, 8, 0x2c, 0x34].map(|at| function.read(at));
    ok_if(before == after, "lets itself become another device")?;
    rings::fill(bench, target);
    target.offer_head(0);
    if target.role.answers() { bench.expect_used(target, 1) } else { bench.expect_whole() }
}
