//! Attacks on network cards (virtio 1.2, 5.1.6): malformed frames, wrong headers, buffers that are
//! too small, and truncated commands.

use super::super::bench::{Bench, Outcome, SIZE, Target, ok_if};
use super::super::honest;
use crate::ring::{Descriptor, WRITE};

/// VIRTIO_NET_F_MRG_RXBUF: a frame may lie in several buffers.
const F_MERGEABLE: u64 = 1 << 15;

/// Sends nothing, half a header, half an Ethernet header, and more than any frame has.
pub(super) fn frames(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let data = bench.buffer;
    data.part(0, 64).clear();
    for length in [0, 1, 11, 12, 13, 25, 26] {
        bench.ask(target, &[(data.address(), length, 0)])?;
    }
    for (length, times) in [(65_536, 2), (65_536, SIZE), (1 << 20, SIZE)] {
        // 1 MiB of memory, which is only read.
        let part = (data.address(), length, 0);
        let parts = [part; SIZE as usize];
        bench.ask(target, parts.get(..times.into()).unwrap_or_default())?;
    }
    Ok(())
}

/// Sends headers that do not match the frame (5.1.6.2).
pub(super) fn headers(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let frame = bench.buffer.part(0, 12 + 100);
    for header in [
        [0xff; 12],
        [0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
        [1, 0, 0, 0, 0, 0, 99, 0, 1, 0, 0, 0],
        [1, 1, 0xff, 0xff, 1, 0, 14, 0, 16, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0],
        [0, 5, 54, 0, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff],
    ] {
        frame.clear();
        frame.write_bytes(0, &header);
        frame.write_bytes(12, &[0xff; 6]);
        frame.write_bytes(24, &[8, 0, 0x45]);
        bench.ask(target, &[(frame.address(), 112, 0)])?;
    }
    Ok(())
}

/// Offers buffers of one byte, or shorter than a header. No frame fits into them.
pub(super) fn small_buffers(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let address = bench.buffer.address();
    for (head, length) in (0..SIZE).zip([1, 2, 11, 12, 13, 14].into_iter().cycle()) {
        target.ring.set_descriptor(head, Descriptor { address, length, flags: WRITE, next: 0 });
        target.offer_head(head);
    }
    let transmit = honest::transmit_queue(bench)?;
    for _ in 0..3 {
        honest::ask_host(bench, transmit)?;
    }
    bench.expect_whole()
}

/// Offers room for a part of the header and none for a frame. That frame is lost, and the next
/// frame that finds enough room is not. (Frames come to the first pair.)
pub(super) fn half_header(bench: &Bench, target: &Target) -> Outcome {
    bench.prepare_with(bench.wanted | F_MERGEABLE)?;
    bench.go();
    if target.index != 0 {
        return bench.expect_whole();
    }
    let room = bench.buffer.part(4096, 16 << 10);
    let offer = |head, length| {
        let (address, flags) = (room.address(), WRITE);
        target.ring.set_descriptor(head, Descriptor { address, length, flags, next: 0 });
        target.offer_head(head);
    };
    offer(0, 4);
    honest::ask_host(bench, honest::transmit_queue(bench)?)?;
    (1..SIZE).for_each(|head| offer(head, 16 << 10));
    honest::ask_host(bench, honest::transmit_queue(bench)?)?;
    bench.expect_frame(target, 1)
}

/// 5.1.6.4: frames for one driver are not given to the next driver, which may not be able to read
/// them. The host has already answered when the request has been sent.
pub(super) fn left_frames(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    if target.index != 0 {
        return bench.expect_whole();
    }
    let before = honest::ask_host(bench, honest::transmit_queue(bench)?)?;
    bench.start()?;
    honest::receive_no_other(bench, target, Some(before))
}

/// Sends commands that are truncated, too long, of an unknown class, or with numbers that are too
/// large.
pub(super) fn commands(bench: &Bench, target: &Target) -> Outcome {
    bench.start()?;
    let (command, ack) = (bench.buffer.part(0, 64), bench.buffer.part(64, 1));
    for (bytes, length) in [
        ([4, 0, 1, 0], 0),
        ([4, 0, 1, 0], 1),
        ([4, 0, 1, 0], 2),
        ([4, 0, 1, 0], 3),
        ([4, 0, 1, 0], 5),
        ([4, 0, 1, 0], 64),
        ([4, 0, 0, 0], 4),
        ([4, 0, 0xff, 0xff], 4),
        ([4, 0, 99, 0], 4),
        ([4, 1, 1, 0], 4),
        ([4, 0xff, 1, 0], 4),
        ([0, 0, 1, 0], 4),
        ([0xff, 0xff, 0xff, 0xff], 4),
    ] {
        command.clear();
        command.write_bytes(0, &bytes);
        ack.write(0, 0xee_u8);
        bench.ask(target, &[(command.address(), length, 0), (ack.address(), 1, WRITE)])?;
        ok_if(ack.read::<u8>(0) == 1, "obeys an unknown command")?;
    }
    // A command without room for the answer, and an answer without a command.
    bench.ask(target, &[(command.address(), 4, 0)])?;
    bench.ask(target, &[(ack.address(), 1, WRITE)])?;
    Ok(())
}
