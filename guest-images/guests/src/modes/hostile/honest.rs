//! An honest driver, which runs after an attack. It resets the device, sets it up correctly, and
//! has each queue do its work once. The data of each life differs, so that an answer from an
//! earlier life is recognized.

use core::sync::atomic::{AtomicU32, Ordering};

use super::bench::{Bench, Outcome, Role, SIZE, Target, ok_if};
use crate::memory::Region;
use crate::ring::{Descriptor, WRITE};

/// The sector that honest requests write.
pub(super) const OUR_SECTOR: u64 = 16;

/// Bytes of struct virtio_net_hdr (5.1.6), and of a buffer for a frame.
const NET_HEADER: u64 = 12;
const FRAME: u32 = 2048;

/// The most frames from other senders before ours.
const OTHER_FRAMES: u16 = 1000;

/// The number of lives so far. Each life uses other data.
static LIVES: AtomicU32 = AtomicU32::new(0);

/// Checks that all queues work. The error names the queue that does not, and why.
pub(super) fn serves(bench: &Bench) -> Result<(), (u16, &'static str)> {
    LIVES.fetch_add(1, Ordering::Relaxed);
    bench.start().map_err(|why| (0, why))?;
    for target in bench.targets() {
        let served = match target.role {
            Role::ConsoleReceive => first_buffer_comes_back(bench, target),
            Role::ConsoleTransmit => transmit(bench, target),
            Role::Block => write_and_read(bench, target, LIVES.load(Ordering::Relaxed)),
            Role::NetReceive if target.index == 0 => receive(bench, target),
            // Frames come only to the first pair until the driver enables more.
            Role::NetReceive => Ok(()),
            Role::NetTransmit => send(bench, target),
            Role::NetControl => control(bench, target),
            Role::Random => random(bench, target),
        };
        served.map_err(|why| (target.index, why))?;
    }
    Ok(())
}

/// Expects that a console hands back its first buffer at once, empty.
fn first_buffer_comes_back(bench: &Bench, target: &Target) -> Outcome {
    let length = bench.ask(target, &[(bench.buffer.address(), 64, WRITE)])?;
    ok_if(length == 0, "has input that nobody typed")
}

fn transmit(bench: &Bench, target: &Target) -> Outcome {
    bench.buffer.write(0, b'.');
    bench.ask(target, &[(bench.buffer.address(), 1, 0)])?;
    Ok(())
}

/// Writes our sector with this number in it, and reads it back.
pub(super) fn write_and_read(bench: &Bench, target: &Target, number: u32) -> Outcome {
    let (data, sector) = (bench.buffer.part(4096, 512), OUR_SECTOR);
    data.write(0, number);
    data.write(508, !number);
    let written = block(bench, target, 1, sector, &[(data.address(), 512, 0)])?;
    data.clear();
    let read = block(bench, target, 0, sector, &[(data.address(), 512, WRITE)])?;
    ok_if((written, read) == (0, 0), "does not write or read a sector")?;
    let same = data.read::<u32>(0) == number && data.read::<u32>(508) == !number;
    ok_if(same, "reads something else than was written")
}

/// Makes a block request (5.2.6) in the parts that Linux uses, and returns its status.
pub(super) fn block(
    bench: &Bench,
    target: &Target,
    kind: u32,
    sector: u64,
    data: &[(u64, u32, u16)],
) -> Result<u8, &'static str> {
    let (header, status) = (bench.buffer.part(0, 16), bench.buffer.part(16, 1));
    header.write(0, kind);
    header.write(8, sector);
    status.write(0, 0xee_u8);
    let mut parts = [(0, 0, 0); SIZE as usize];
    let all = [(header.address(), 16, 0)].into_iter().chain(data.iter().copied());
    let all = all.chain([(status.address(), 1, WRITE)]);
    let count = data.len() + 2;
    parts.iter_mut().zip(all).for_each(|(to, part)| *to = part);
    bench.ask(target, parts.get(..count).unwrap_or_default())?;
    Ok(status.read(0))
}

/// Sends an ARP request for the host's address, and waits for the answer.
fn receive(bench: &Bench, target: &Target) -> Outcome {
    receive_no_other(bench, target, None)
}

/// Sends an ARP request for the host's address, and waits for the answer. An answer to `other`, the
/// request of an earlier driver, must not come.
pub(super) fn receive_no_other(bench: &Bench, target: &Target, other: Option<[u8; 4]>) -> Outcome {
    let transmit = transmit_queue(bench)?;
    let buffers = bench.buffer.part(4096, u64::from(SIZE) * u64::from(FRAME));
    for head in 0..SIZE {
        let address = frame(&buffers, head).address();
        target
            .ring
            .set_descriptor(head, Descriptor { address, length: FRAME, flags: WRITE, next: 0 });
        target.offer_head(head);
    }
    LIVES.fetch_add(1, Ordering::Relaxed);
    let our = ask_host(bench, transmit)?;
    for count in 1..OTHER_FRAMES {
        bench.expect_frame(target, count)?;
        let (head, _) = target.ring.used(count.wrapping_sub(1));
        let head = u16::try_from(head).unwrap_or(SIZE);
        ok_if(head < SIZE, "gives back what it was not given")?;
        if answers(&frame(&buffers, head), our) {
            return Ok(());
        }
        let old = other.is_some_and(|other| answers(&frame(&buffers, head), other));
        ok_if(!old, "is given a frame that came for another driver")?;
        target.offer_head(head);
    }
    Err("gets other frames only")
}

/// Returns the transmit queue of a network card.
pub(super) fn transmit_queue(bench: &Bench) -> Result<&Target, &'static str> {
    let mut targets = bench.targets();
    targets.find(|target| target.role == Role::NetTransmit).ok_or("has no transmit queue")
}

fn frame(buffers: &Region, head: u16) -> Region {
    buffers.part(u64::from(head) * u64::from(FRAME), FRAME.into())
}

/// Sends an ARP request for the host's address (RFC 826), and returns the sender's address in it.
/// The sender is another address of the same network each time.
pub(super) fn ask_host(bench: &Bench, transmit: &Target) -> Result<[u8; 4], &'static str> {
    let [a, b, c, _] = bench.host;
    let our = [a, b, c, u8::try_from(2 + LIVES.load(Ordering::Relaxed) % 250).unwrap_or(2)];
    let packet = bench.buffer.part(0, 12 + 42);
    let mut mac = [0; 6];
    bench.device.config.read_bytes(0, &mut mac);
    packet.clear();
    packet.write_bytes(NET_HEADER, &[0xff; 6]);
    packet.write_bytes(NET_HEADER + 6, &mac);
    packet.write_bytes(NET_HEADER + 12, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    packet.write_bytes(NET_HEADER + 22, &mac);
    packet.write_bytes(NET_HEADER + 28, &our);
    packet.write_bytes(NET_HEADER + 38, &bench.host);
    bench.ask(transmit, &[(packet.address(), 12 + 42, 0)])?;
    Ok(our)
}

fn answers(frame: &Region, our: [u8; 4]) -> bool {
    let (mut kind, mut to) = ([0; 10], [0; 4]);
    frame.read_bytes(NET_HEADER + 12, &mut kind);
    frame.read_bytes(NET_HEADER + 38, &mut to);
    kind == [8, 6, 0, 1, 8, 0, 6, 4, 0, 2] && to == our
}

/// Sends a frame of an unknown type.
fn send(bench: &Bench, target: &Target) -> Outcome {
    let packet = bench.buffer.part(0, 12 + 60);
    packet.clear();
    packet.write_bytes(NET_HEADER, &[0xff; 6]);
    packet.write_bytes(NET_HEADER + 12, &[0x88, 0xb5]);
    bench.ask(target, &[(packet.address(), 12 + 60, 0)])?;
    Ok(())
}

/// Sends the command "use one queue pair" (5.1.6.5.5).
fn control(bench: &Bench, target: &Target) -> Outcome {
    let (command, ack) = (bench.buffer.part(0, 4), bench.buffer.part(16, 1));
    command.write_bytes(0, &[4, 0, 1, 0]);
    ack.write(0, 0xee_u8);
    bench.ask(target, &[(command.address(), 4, 0), (ack.address(), 1, WRITE)])?;
    ok_if(ack.read::<u8>(0) == 0, "does not take a command")
}

fn random(bench: &Bench, target: &Target) -> Outcome {
    let room = bench.buffer.part(0, 16);
    room.clear();
    let length = bench.ask(target, &[(room.address(), 16, WRITE)])?;
    let something = room.read::<u64>(0) | room.read::<u64>(8) != 0;
    ok_if(length == 16 && something, "gives no random numbers")
}
