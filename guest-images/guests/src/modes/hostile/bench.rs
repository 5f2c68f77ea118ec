//! A device under attack: its queues with their rings, memory for what is offered to it, the
//! correct way to start it, and ways to check what became of the offered buffers.

use core::hint::spin_loop;
use core::sync::atomic::{Ordering, fence};

use crate::memory::Region;
use crate::modes::Task;
use crate::ring::{Descriptor, NEXT, Ring};
use crate::virtio::{F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1, Virtio, status};

/// The entries of every queue. There are few, because some attacks fill a ring.
pub(super) const SIZE: u16 = 16;

/// The value for no interrupt (4.1.5.1.2).
pub(super) const NO_VECTOR: u16 = 0xffff;

/// More queues than any device of a test has.
const MOST_QUEUES: usize = 16;

/// How often to read the status register before giving up. Each read is an exit, so this is several
/// seconds.
const PATIENCE: u32 = 100_000;

/// VIRTIO_BLK_F_FLUSH: without it, a write is answered only when it is stable.
const F_BLOCK_FLUSH: u64 = 1 << 9;
/// VIRTIO_NET_F_CTRL_VQ and VIRTIO_NET_F_MQ.
const F_NET_QUEUES: u64 = 1 << 17 | 1 << 22;

/// The error says what is wrong.
pub(super) type Outcome = Result<(), &'static str>;

/// The purpose of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    ConsoleReceive,
    ConsoleTransmit,
    Block,
    NetReceive,
    NetTransmit,
    NetControl,
    Random,
}

impl Role {
    /// Whether a request may have no part that the device reads.
    pub(super) fn is_for_guest(self) -> bool {
        matches!(self, Self::ConsoleReceive | Self::Block | Self::NetReceive | Self::Random)
    }

    /// Whether every legal request is answered even without input.
    pub(super) fn answers(self) -> bool {
        !matches!(self, Self::ConsoleReceive | Self::NetReceive)
    }
}

/// A queue under attack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) index: u16,
    pub(super) role: Role,
    pub(super) ring: Ring,
    /// The most entries that the device offers for the queue.
    pub(super) most: u16,
    doorbell: Region,
}

impl Target {
    /// Notifies the device, even if it has suppressed notifications.
    pub(super) fn notify(&self) {
        fence(Ordering::SeqCst);
        self.doorbell.write(0, self.index);
    }

    /// Offers a chain of (address, length, flags), which begins with descriptor 0.
    pub(super) fn offer(&self, parts: &[(u64, u32, u16)]) {
        self.set_chain(parts);
        self.offer_head(0);
    }

    /// Writes a chain of (address, length, flags) without offering it.
    pub(super) fn set_chain(&self, parts: &[(u64, u32, u16)]) {
        for (index, (address, length, flags)) in (0_u16..).zip(parts) {
            let more = usize::from(index) + 1 < parts.len();
            let flags = if more { flags | NEXT } else { *flags };
            let descriptor =
                Descriptor { address: *address, length: *length, flags, next: index + 1 };
            self.ring.set_descriptor(index, descriptor);
        }
    }

    /// Offers the chain that begins with this descriptor.
    pub(super) fn offer_head(&self, head: u16) {
        let index = self.ring.avail_index();
        // With the event index, request an interrupt for the next answer, as a driver does.
        self.ring.set_used_event(self.ring.used_index());
        self.ring.set_avail(index, head);
        fence(Ordering::SeqCst);
        self.ring.set_avail_index(index.wrapping_add(1));
        self.notify();
    }
}

/// A device, and everything needed to attack it.
pub(super) struct Bench {
    pub(super) name: &'static str,
    pub(super) device: Virtio,
    pub(super) wanted: u64,
    targets: [Option<Target>; MOST_QUEUES],
    /// Memory for requests.
    pub(super) buffer: Region,
    /// Memory for an indirect table.
    pub(super) table: Region,
    /// The address after the last byte of RAM.
    pub(super) ram_end: u64,
    /// The address that answers behind the network card.
    pub(super) host: [u8; 4],
}

impl Bench {
    pub(super) fn new(kind: u16, device: Virtio, task: &Task<'_>) -> Self {
        let (name, wanted) = match kind {
            1 => ("net", F_NET_QUEUES),
            2 => ("blk", F_BLOCK_FLUSH),
            3 => ("con", 0),
            4 => ("rng", 0),
            other => fail!("probe: no attacks on devices of type {other}"),
        };
        let wanted = wanted | if task.arguments.has("event_idx") { F_EVENT_IDX } else { 0 };
        device.reset();
        let count: u16 = device.common.read(crate::virtio::offset::NUM_QUEUES);
        let mut targets = [None; MOST_QUEUES];
        for (index, target) in (0..count).zip(&mut targets) {
            let role = match (kind, index) {
                (1, last) if last > 1 && last == count - 1 => Role::NetControl,
                (1, even) if even % 2 == 0 => Role::NetReceive,
                (1, _) => Role::NetTransmit,
                (2, _) => Role::Block,
                (3, 0) => Role::ConsoleReceive,
                (3, _) => Role::ConsoleTransmit,
                _ => Role::Random,
            };
            let most = device.queue_size(index);
            let (ring, doorbell) = (Ring::new(SIZE), device.doorbell(index));
            *target = Some(Target { index, role, ring, most, doorbell });
        }
        let ram =
            task.boot_params.memory_map().filter(|range| range.kind == crate::boot_params::RAM);
        Self {
            name,
            device,
            wanted: wanted | F_VERSION_1 | F_INDIRECT_DESC,
            targets,
            buffer: Region::take(64 << 10, 4096),
            table: Region::take(4096, 4096),
            ram_end: ram.map(|range| range.start + range.length).max().unwrap_or(0),
            host: task.arguments.value("host").map_or([0; 4], ip),
        }
    }

    /// Accepts the event index from now on (VIRTIO_F_EVENT_IDX, 2.7.10), or does not.
    pub(super) fn use_event_index(&mut self, yes: bool) {
        self.wanted = self.wanted & !F_EVENT_IDX | if yes { F_EVENT_IDX } else { 0 };
    }

    /// Returns the text for reports that says whether the event index is used.
    pub(super) fn how(&self) -> &'static str {
        if self.wanted & F_EVENT_IDX == 0 { "" } else { " with the event index" }
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().flatten()
    }

    /// Starts the device correctly.
    pub(super) fn start(&self) -> Outcome {
        self.prepare()?;
        self.go();
        Ok(())
    }

    /// Starts the device up to the set-up of its queues: reset and features.
    pub(super) fn prepare(&self) -> Outcome {
        self.prepare_with(self.wanted)
    }

    /// Resets the device, and accepts those offered features that are wanted.
    pub(super) fn prepare_with(&self, wanted: u64) -> Outcome {
        self.begin();
        let offered = self.device.offered();
        ok_if(offered & F_EVENT_IDX != 0, "does not offer the event index")?;
        let accepted = offered & wanted;
        ok_if(self.device.accept(accepted), "does not accept what it offers")
    }

    /// Starts the device up to its features: reset, ACKNOWLEDGE and DRIVER.
    pub(super) fn begin(&self) {
        self.device.reset();
        self.device.set_status(status::ACKNOWLEDGE);
        self.device.set_status(status::ACKNOWLEDGE | status::DRIVER);
    }

    /// Sets up the queues and starts the device.
    pub(super) fn go(&self) {
        self.go_with(NO_VECTOR);
    }

    /// Enables the queues with this interrupt vector, and sets DRIVER_OK.
    pub(super) fn go_with(&self, vector: u16) {
        for target in self.targets() {
            target.ring.clear();
            self.device.enable_queue(target.index, &target.ring, vector);
        }
        self.device.driver_ok();
    }

    fn is_broken(&self) -> bool {
        self.device.status() & status::NEEDS_RESET != 0
    }

    /// Waits until the device has used `count` chains. Fails if the device needs a reset or does
    /// not react.
    pub(super) fn expect_used(&self, target: &Target, count: u16) -> Outcome {
        self.expect(|| target.ring.used_index() == count)
    }

    /// Waits until the device has used at least `count` chains. Frames also come from other
    /// senders.
    pub(super) fn expect_frame(&self, target: &Target, count: u16) -> Outcome {
        self.expect(|| target.ring.used_index().wrapping_sub(count) < SIZE)
    }

    fn expect(&self, mut done: impl FnMut() -> bool) -> Outcome {
        for _ in 0..PATIENCE {
            if comes(&mut done) {
                return Ok(());
            }
            ok_if(!self.is_broken(), "broke down on what is legal")?;
        }
        Err("does not answer")
    }

    /// Waits until the device says that it needs a reset.
    pub(super) fn expect_broken(&self) -> Outcome {
        ok_if((0..PATIENCE).any(|_| self.is_broken()), "does not say that it needs a reset")
    }

    /// Checks that the device does not need a reset.
    pub(super) fn expect_whole(&self) -> Outcome {
        ok_if(!(0..5).any(|_| self.is_broken()), "broke down on what is legal")
    }

    /// Offers a chain, waits for the answer, and returns its length.
    pub(super) fn ask(
        &self,
        target: &Target,
        parts: &[(u64, u32, u16)],
    ) -> Result<u32, &'static str> {
        target.offer(parts);
        let count = target.ring.avail_index();
        self.expect_used(target, count)?;
        let (head, length) = target.ring.used(count.wrapping_sub(1));
        ok_if(head == 0, "answers what it was not asked")?;
        Ok(length)
    }
}

/// Polls for some microseconds, and returns whether `done` became true.
fn comes(mut done: impl FnMut() -> bool) -> bool {
    (0..200).any(|_| {
        spin_loop();
        done()
    })
}

/// Returns an error with this text unless `holds`.
pub(super) fn ok_if(holds: bool, otherwise: &'static str) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// Parses an address in dotted notation.
fn ip(text: &str) -> [u8; 4] {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
    [(); 4].map(|()| numbers.next().unwrap_or(0))
}
