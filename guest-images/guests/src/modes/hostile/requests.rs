//! Attacks by the contents of requests, which differ for each device (virtio 1.2, 5.1.6, 5.2.6,
//! 5.3.6, 5.4.6). A bad request is answered with an error, or lost. Only a request that cannot be
//! answered breaks a device.

use super::Attack;
use super::bench::{Bench, Outcome, Role, SIZE, Target, ok_if};
use super::honest::{OUR_SECTOR, block};
use crate::ring::WRITE;

mod frames;

/// Block requests (5.2.6).
const READ: u32 = 0;
const WRITE_OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

const fn of(role: &'static str, name: &'static str, run: fn(&Bench, &Target) -> Outcome) -> Attack {
    let on: fn(Role) -> bool = match role.as_bytes() {
        b"blk" => |role| matches!(role, Role::Block),
        b"rx" => |role| matches!(role, Role::NetReceive),
        b"tx" => |role| matches!(role, Role::NetTransmit),
        b"ctl" => |role| matches!(role, Role::NetControl),
        b"con" => |role| matches!(role, Role::ConsoleTransmit),
        _ => |role| matches!(role, Role::Random),
    };
    Attack { name, on, run }
}

pub(super) const ATTACKS: &[Attack] = &[
    of("blk", "block-past-end", past_end),
    of("blk", "block-half-sectors", half_sectors),
    of("blk", "block-types", types),
    of("blk", "block-header-in-pieces", pieces),
    of("blk", "block-status-in-data", status_in_data),
    of("blk", "block-short-header", short_header),
    of("blk", "block-nowhere-for-status", no_status),
    of("blk", "block-status-read-only", read_only_status),
    of("blk", "block-extents", extents),
    of("blk", "block-serial-in-a-byte", serial),
    of("blk", "block-header-flips", flip),
    of("tx", "net-lengths", frames::frames),
    of("tx", "net-headers", frames::headers),
    of("rx", "net-small-buffers", frames::small_buffers),
    of("rx", "net-half-header", frames::half_header),
    of("rx", "net-left-frames", frames::left_frames),
    of("ctl", "net-commands", frames::commands),
    of("rng", "random-gigabytes", gigabytes),
    of("rng", "random-storm", random_storm),
    of("con", "console-pieces", console_pieces),
];

/// Returns the number of sectors of the disk.
fn capacity(bench: &Bench) -> u64 {
    bench.device.config.read(0)
}

/// Makes every kind of request at places that are not completely on the disk.
fn past_end(bench: &Bench, target: &Target) -> Outcome {
    let end = capacity(bench);
    let places = [
        (end, 512),
        (end - 1, 1024),
        (1 << 55, 512),
        ((1 << 55) - 1, 512),
        (u64::MAX, 512),
        (u64::MAX / 512, 1024),
        (end + 1, 0),
    ];
    refuses(bench, target, &places, "reads or writes what is not on the disk")
}

fn half_sectors(bench: &Bench, target: &Target) -> Outcome {
    let places = [1, 511, 513, 1023].map(|length| (OUR_SECTOR, length));
    refuses(bench, target, &places, "takes a part of a sector")
}

/// Expects that the device neither reads nor writes at any of these places: sector, and length in
/// bytes.
fn refuses(
    bench: &Bench,
    target: &Target,
    places: &[(u64, u32)],
    otherwise: &'static str,
) -> Outcome {
    bench.start()?;
    let data = bench.buffer.part(4096, 1024).address();
    for (sector, length) in places.iter().copied() {
        for (kind, flags) in [(READ, WRITE), (WRITE_OUT, 0)] {
            let answer = block(bench, target, kind, sector, &[(data, length, flags)])?;
            ok_if(answer == IO_ERROR, otherwise)?;
        }
    }
    Ok(())
}

/// Makes requests of unknown types, and requests with more parts than they need.
fn types(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let data = bench.buffer.part(4096, 512).address();
    for kind in [2, 3, 5, 7, 99, 0x8000_0000, 0xffff_ffff] {
        let answer = block(bench, target, kind, 0, &[(data, 512, 0), (data, 512, WRITE)])?;
        ok_if(answer == UNSUPPORTED, "knows a type that does not exist")?;
    }
    let answer = block(bench, target, FLUSH, u64::MAX, &[(data, 512, 0)])?;
    ok_if(answer == OK, "does not flush")
}

/// 2.7.4.1: requests may be cut into any parts.
fn pieces(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let header = bench.buffer.part(0, 16);
    let data = bench.buffer.part(4096, 513);
    header.write(0, READ);
    header.write(8, OUR_SECTOR);
    data.write(512, 0xee_u8);
    let mut parts = [(0, 0, 0); SIZE as usize];
    let cuts = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5].into_iter().scan(0, |at, length| {
        let part = (header.address() + *at, u32::try_from(length).unwrap_or(0), 0);
        *at += length;
        Some(part)
    });
    let (room, length) = (data.address(), 171);
    let rest = (0..3).map(|part: u32| (room + u64::from(part * length), length, WRITE));
    parts.iter_mut().zip(cuts.chain(rest)).for_each(|(to, part)| *to = part);
    bench.ask(target, parts.get(..15).unwrap_or_default())?;
    ok_if(data.read::<u8>(512) == OK, "does not take a request in pieces")
}

fn status_in_data(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let header = bench.buffer.part(0, 16);
    let data = bench.buffer.part(4096, 513);
    header.write(0, READ);
    header.write(8, OUR_SECTOR);
    data.write(512, 0xee_u8);
    bench.ask(target, &[(header.address(), 16, 0), (data.address(), 513, WRITE)])?;
    ok_if(data.read::<u8>(512) == OK, "wants the status by itself")
}

fn short_header(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let (header, status) = (bench.buffer.part(0, 16), bench.buffer.part(16, 1));
    for length in [0, 1, 15] {
        status.write(0, 0xee_u8);
        let parts = [(header.address(), length, 0), (status.address(), 1, WRITE)];
        bench.ask(target, &parts)?;
        ok_if(status.read::<u8>(0) == IO_ERROR, "does a request with half a header")?;
    }
    Ok(())
}

fn no_status(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    target.offer(&[(bench.buffer.address(), 16, 0)]);
    bench.expect_broken()
}

/// The status must not be written into a buffer that the device may only read.
fn read_only_status(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let data = bench.buffer.part(4096, 513);
    data.write(512, 0xee_u8);
    target.offer(&[(bench.buffer.address(), 16, 0), (data.address(), 513, 0)]);
    bench.expect_broken()?;
    ok_if(data.read::<u8>(512) == 0xee, "writes what it may only read")
}

/// Makes discard and write-zeroes requests that must be refused. The contents of the disk must not
/// change.
fn extents(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let (end, data) = (capacity(bench), bench.buffer.part(4096, 4096));
    let sectors = u32::try_from(end).unwrap_or(u32::MAX);
    for kind in [DISCARD, WRITE_ZEROES] {
        for (sector, count, flags) in [
            (end, 1, 0_u32),
            (1, sectors, 0),
            (u64::MAX, 1, 0),
            (1 << 55, 1, 0),
            (0, u32::MAX, 0),
            (0, 1, 2),
            (0, 1, 0xffff_ffff),
        ] {
            data.write(0, sector);
            data.write(8, count);
            data.write(12, flags);
            let answer = block(bench, target, kind, 0, &[(data.address(), 16, 0)])?;
            ok_if(answer != OK, "clears what is not on the disk")?;
        }
        data.clear();
        for length in [0, 1, 15, 17, 17 * 16, 4095] {
            let answer = block(bench, target, kind, 0, &[(data.address(), length, 0)])?;
            ok_if(answer != OK, "takes extents of an odd length")?;
        }
    }
    Ok(())
}

/// Offers less room than a serial number needs. No byte beyond it is written.
fn serial(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let room = bench.buffer.part(4096, 32);
    room.write_bytes(0, &[0xee; 32]);
    block(bench, target, GET_ID, 0, &[(room.address(), 1, WRITE)])?;
    let mut after = [0; 31];
    room.read_bytes(1, &mut after);
    ok_if(after == [0xee; 31], "writes more than there is room for")
}

/// The header changes while the device reads it. The device writes our sector or refuses the
/// request, and touches no other sector. (Half of one sector number and half of the other is not a
/// sector of the disk either.)
fn flip(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let (header, status) = (bench.buffer.part(0, 16), bench.buffer.part(16, 1));
    let data = (bench.buffer.part(4096, 512).address(), 512, 0);
    header.write(0, WRITE_OUT);
    let far = [1 << 40, 1 << 55, 0xffff_ffff << 32].map(|high| high | OUR_SECTOR);
    for (count, beyond) in (1..=200).zip(far.into_iter().cycle()) {
        header.write(8, OUR_SECTOR);
        target.offer(&[(header.address(), 16, 0), data, (status.address(), 1, WRITE)]);
        for _ in 0..50 {
            header.write(8, beyond);
            header.write(8, OUR_SECTOR);
        }
        bench.expect_used(target, count)?;
        ok_if(matches!(status.read(0), OK | IO_ERROR), "does neither one nor the other")?;
    }
    Ok(())
}

/// Offers the same unused 32 MiB 16 times. The device may fill less, and must answer soon.
fn gigabytes(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let (address, length) = (bench.ram_end / 2, (bench.ram_end / 4).min(1 << 28));
    let part = (address, u32::try_from(length).unwrap_or(0), WRITE);
    let given = bench.ask(target, &[part; SIZE as usize])?;
    ok_if((1..=1 << 20).contains(&given), "fills gigabytes at one request")
}

fn random_storm(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    for _ in 0..200 {
        bench.ask(target, &[(bench.buffer.address(), 1, WRITE)])?;
    }
    Ok(())
}

/// Prints a line whose letters are in separate buffers, with empty buffers in between.
fn console_pieces(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    bench.buffer.write_bytes(0, b"hostile");
    let at = bench.buffer.address();
    let mut parts = [(u64::MAX, 0, 0); SIZE as usize];
    let letters = (0..7).map(|letter| (at + letter, 1, 0));
    parts.iter_mut().step_by(2).zip(letters).for_each(|(to, part)| *to = part);
    bench.ask(target, &parts)?;
    Ok(())
}
