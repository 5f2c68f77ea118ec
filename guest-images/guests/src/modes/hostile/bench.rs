//! A device on the bench: its queues with their rings, memory for all that is
//! offered to it, the honest way to bring it to life, and the ways to see what
//! became of what was offered.

use core::hint::spin_loop;
use core::sync::atomic::{Ordering, fence};

use crate::memory::Region;
use crate::modes::Task;
use crate::ring::{Descriptor, NEXT, Ring};
use crate::virtio::{F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1, Virtio, status};

/// Entries of every queue. Few: some attacks fill a ring.
pub(super) const SIZE: u16 = 16;

/// No interrupt (4.1.5.1.2).
pub(super) const NO_VECTOR: u16 = 0xffff;

/// More queues than any device has that we are given.
const MOST_QUEUES: usize = 16;

/// Looks at a status register, each as long as an exit and then some, until we
/// call it never: several seconds.
const PATIENCE: u32 = 100_000;

/// VIRTIO_BLK_F_FLUSH: without it each write is waited for.
const F_BLOCK_FLUSH: u64 = 1 << 9;
/// VIRTIO_NET_F_CTRL_VQ and VIRTIO_NET_F_MQ.
const F_NET_QUEUES: u64 = 1 << 17 | 1 << 22;

/// Nothing, or what is not as it should be.
pub(super) type Outcome = Result<(), &'static str>;

/// What a queue is for.
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
    /// Whether a request may have nothing for the device to read.
    pub(super) fn is_for_guest(self) -> bool {
        matches!(self, Self::ConsoleReceive | Self::Block | Self::NetReceive | Self::Random)
    }

    /// Whether every legal request is answered, and not only when there is input.
    pub(super) fn answers(self) -> bool {
        !matches!(self, Self::ConsoleReceive | Self::NetReceive)
    }
}

/// A queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) index: u16,
    pub(super) role: Role,
    pub(super) ring: Ring,
    /// The most entries that the device offers.
    pub(super) most: u16,
    doorbell: Region,
}

impl Target {
    /// Whatever the device wants to know.
    pub(super) fn notify(&self) {
        fence(Ordering::SeqCst);
        self.doorbell.write(0, self.index);
    }

    /// Offer a chain of address, length, flags; it begins with descriptor 0.
    pub(super) fn offer(&self, parts: &[(u64, u32, u16)]) {
        self.set_chain(parts);
        self.offer_head(0);
    }

    /// Write a chain of address, length, flags, without offering it.
    pub(super) fn set_chain(&self, parts: &[(u64, u32, u16)]) {
        for (index, (address, length, flags)) in (0_u16..).zip(parts) {
            let more = usize::from(index) + 1 < parts.len();
            let flags = if more { flags | NEXT } else { *flags };
            let descriptor =
                Descriptor { address: *address, length: *length, flags, next: index + 1 };
            self.ring.set_descriptor(index, descriptor);
        }
    }

    /// Offer the chain of this descriptor.
    pub(super) fn offer_head(&self, head: u16) {
        let index = self.ring.avail_index();
        // With the event index: an interrupt for the next answer, as a driver asks for it.
        self.ring.set_used_event(self.ring.used_index());
        self.ring.set_avail(index, head);
        fence(Ordering::SeqCst);
        self.ring.set_avail_index(index.wrapping_add(1));
        self.notify();
    }
}

/// A device, and all that we need to attack it.
pub(super) struct Bench {
    pub(super) name: &'static str,
    pub(super) device: Virtio,
    pub(super) wanted: u64,
    targets: [Option<Target>; MOST_QUEUES],
    /// Room for requests.
    pub(super) buffer: Region,
    /// Room for an indirect table.
    pub(super) table: Region,
    /// Behind the last byte of RAM.
    pub(super) ram_end: u64,
    /// Who answers behind the network card.
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

    /// Accept the event index from now on (VIRTIO_F_EVENT_IDX, 2.7.10), or do not.
    pub(super) fn use_event_index(&mut self, yes: bool) {
        self.wanted = self.wanted & !F_EVENT_IDX | if yes { F_EVENT_IDX } else { 0 };
    }

    /// What lines say of a bench that uses it.
    pub(super) fn how(&self) -> &'static str {
        if self.wanted & F_EVENT_IDX == 0 { "" } else { " with the event index" }
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().flatten()
    }

    /// Bring it to life by the book.
    pub(super) fn start(&self) -> Outcome {
        self.prepare()?;
        self.go();
        Ok(())
    }

    /// As far as the queues: reset, features.
    pub(super) fn prepare(&self) -> Outcome {
        self.prepare_with(self.wanted)
    }

    /// Reset the device, and accept those of the offered features that are wanted.
    pub(super) fn prepare_with(&self, wanted: u64) -> Outcome {
        self.begin();
        let offered = self.device.offered();
        ok_if(offered & F_EVENT_IDX != 0, "does not offer the event index")?;
        let accepted = offered & wanted;
        ok_if(self.device.accept(accepted), "does not accept what it offers")
    }

    /// As far as the features: reset, and we know how to drive it.
    pub(super) fn begin(&self) {
        self.device.reset();
        self.device.set_status(status::ACKNOWLEDGE);
        self.device.set_status(status::ACKNOWLEDGE | status::DRIVER);
    }

    /// From the queues on.
    pub(super) fn go(&self) {
        self.go_with(NO_VECTOR);
    }

    /// Enable the queues, which interrupt by this vector, and set DRIVER_OK.
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

    /// Wait until the device has used so many; or broken down, or died.
    pub(super) fn expect_used(&self, target: &Target, count: u16) -> Outcome {
        self.expect(|| target.ring.used_index() == count)
    }

    /// Wait until the device has used at least so many: frames come when others send them.
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

    /// Wait until the device says that it needs a reset.
    pub(super) fn expect_broken(&self) -> Outcome {
        ok_if((0..PATIENCE).any(|_| self.is_broken()), "does not say that it needs a reset")
    }

    /// What was done breaks nothing: soon would be too late.
    pub(super) fn expect_whole(&self) -> Outcome {
        ok_if(!(0..5).any(|_| self.is_broken()), "broke down on what is legal")
    }

    /// Offer a chain, and wait for the answer: its length.
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

/// Whether it becomes true while we look at memory for some microseconds.
fn comes(mut done: impl FnMut() -> bool) -> bool {
    (0..200).any(|_| {
        spin_loop();
        done()
    })
}

/// An error with this text, unless it is true.
pub(super) fn ok_if(holds: bool, otherwise: &'static str) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// An address in the usual notation.
fn ip(text: &str) -> [u8; 4] {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
    [(); 4].map(|()| numbers.next().unwrap_or(0))
}
