//! Attacks by descriptors (virtio 1.2, 2.7.5): chains that lead nowhere, or to forbidden addresses.
//! Each attack is a row: the queue's table, an indirect table, and the roles of the queues on which
//! the device must report a violation. On other queues the device must answer. A few rows are
//! legal, although they do not look so.

use super::bench::{Bench, Outcome, Role, SIZE, Target};
use crate::memory::Region;
use crate::ring::{Descriptor, INDIRECT, NEXT, WRITE};

/// Flags that stand for [`WRITE`] or none, whichever is right for this queue; or for the wrong one.
const RIGHT: u16 = 1 << 15;
const WRONG: u16 = 1 << 14;

/// The target of a descriptor.
#[derive(Clone, Copy)]
enum To {
    /// A buffer of the guest.
    Buffer,
    /// The indirect table.
    Table,
    /// The queue's own used ring.
    UsedRing,
    /// The registers of the device.
    Bar,
    /// This many bytes before the end of RAM.
    End(u64),
    /// This address.
    At(u64),
}

/// A descriptor: target, length, flags, next.
type Part = (To, u32, u16, u16);

/// A chain.
pub(super) struct Chain {
    pub(super) name: &'static str,
    head: u16,
    table: &'static [Part],
    indirect: &'static [Part],
    /// The queues on which the chain is a violation of the protocol.
    breaks: fn(Role) -> bool,
}

const ALWAYS: fn(Role) -> bool = |_| true;
const NEVER: fn(Role) -> bool = |_| false;

const fn direct(name: &'static str, table: &'static [Part], breaks: fn(Role) -> bool) -> Chain {
    Chain { name, head: 0, table, indirect: &[], breaks }
}

/// Returns a chain whose first descriptor refers to the indirect table.
const fn indirect(
    name: &'static str,
    table: &'static [Part],
    indirect: &'static [Part],
    breaks: fn(Role) -> bool,
) -> Chain {
    Chain { name, head: 0, table, indirect, breaks }
}

const GOOD: Part = (To::Buffer, 64, RIGHT, 0);
const GOOD_AND_ON: Part = (To::Buffer, 64, RIGHT | NEXT, 1);

/// Returns a good descriptor that leads to the next one.
const fn on(next: u16) -> Part {
    (To::Buffer, 64, RIGHT | NEXT, next)
}

/// A chain as long as the queue, and a longer one, for an indirect table.
#[rustfmt::skip]
const FULL: [Part; SIZE as usize] = [
    on(1), on(2), on(3), on(4), on(5), on(6), on(7), on(8),
    on(9), on(10), on(11), on(12), on(13), on(14), on(15), GOOD,
];
#[rustfmt::skip]
const TOO_LONG: [Part; SIZE as usize + 1] = [
    on(1), on(2), on(3), on(4), on(5), on(6), on(7), on(8),
    on(9), on(10), on(11), on(12), on(13), on(14), on(15), on(16), GOOD,
];

/// The attacks of this file.
pub(super) const CHAINS: &[Chain] = &[
    Chain { name: "head-beyond", head: SIZE, table: &[], indirect: &[], breaks: ALWAYS },
    Chain { name: "head-far-beyond", head: 0xffff, table: &[], indirect: &[], breaks: ALWAYS },
    direct("loop-of-one", &[(To::Buffer, 64, RIGHT | NEXT, 0)], ALWAYS),
    direct("loop-of-two", &[GOOD_AND_ON, (To::Buffer, 64, RIGHT | NEXT, 0)], ALWAYS),
    direct("loop-of-nothing", &[(To::Buffer, 0, RIGHT | NEXT, 0)], ALWAYS),
    direct("next-beyond", &[(To::Buffer, 64, RIGHT | NEXT, SIZE)], ALWAYS),
    direct("next-far-beyond", &[(To::Buffer, 64, RIGHT | NEXT, 0xffff)], ALWAYS),
    // Addresses and lengths.
    direct("outside", &[(To::At(1 << 40), 64, RIGHT, 0)], ALWAYS),
    direct("hole", &[(To::At(0xd000_0000), 64, RIGHT, 0)], ALWAYS),
    direct("bar", &[(To::Bar, 64, RIGHT, 0)], ALWAYS),
    direct("local-apic", &[(To::At(0xfee0_0000), 64, RIGHT, 0)], ALWAYS),
    direct("wraps", &[(To::At(u64::MAX - 255), 512, RIGHT, 0)], ALWAYS),
    direct("last-address", &[(To::At(u64::MAX), 1, RIGHT, 0)], ALWAYS),
    direct("over-end", &[(To::End(63), 64, RIGHT, 0)], ALWAYS),
    direct("behind-end", &[(To::End(0), 1, RIGHT, 0)], ALWAYS),
    direct("at-end", &[(To::End(64), 64, RIGHT, 0)], NEVER),
    direct("longest", &[(To::Buffer, u32::MAX, RIGHT, 0)], ALWAYS),
    direct("nothing", &[(To::Buffer, 0, RIGHT, 0)], is_block),
    direct("nothing-nowhere", &[(To::At(u64::MAX), 0, RIGHT, 0)], is_block),
    direct("used-ring", &[(To::UsedRing, 4, RIGHT, 0)], NEVER),
    // Directions.
    direct("wrong-way", &[(To::Buffer, 64, WRONG, 0)], |role| role != Role::NetControl),
    direct("back-and-forth", &[(To::Buffer, 64, WRITE | NEXT, 1), (To::Buffer, 64, 0, 0)], ALWAYS),
    direct("both-ways", &[(To::Buffer, 16, NEXT, 1), (To::Buffer, 16, WRITE, 0)], |role| {
        !matches!(role, Role::Block | Role::NetControl)
    }),
    // Indirect tables.
    indirect("nested", &[(To::Table, 16, INDIRECT, 0)], &[(To::Table, 16, INDIRECT, 0)], ALWAYS),
    indirect("indirect-and-on", &[(To::Table, 16, INDIRECT | NEXT, 1), GOOD], &[GOOD], ALWAYS),
    indirect("indirect-of-15", &[(To::Table, 15, INDIRECT, 0)], &[GOOD], ALWAYS),
    indirect("indirect-of-17", &[(To::Table, 17, INDIRECT, 0)], &[GOOD], ALWAYS),
    indirect("indirect-of-0", &[(To::Table, 0, INDIRECT, 0)], &[GOOD], ALWAYS),
    // 2.7.5.3.1 limits the chain, not the table that contains it.
    indirect("indirect-long-table", &[(To::Table, 256 * 16, INDIRECT, 0)], &[GOOD], NEVER),
    indirect("indirect-full-chain", &[(To::Table, 256 * 16, INDIRECT, 0)], &FULL, NEVER),
    indirect("indirect-long-chain", &[(To::Table, 256 * 16, INDIRECT, 0)], &TOO_LONG, ALWAYS),
    indirect(
        "chain-then-too-long",
        &[GOOD_AND_ON, (To::Table, 256 * 16, INDIRECT, 0)],
        &FULL,
        ALWAYS,
    ),
    indirect("indirect-of-4-gib", &[(To::Table, 0xffff_fff0, INDIRECT, 0)], &[GOOD], ALWAYS),
    indirect("indirect-outside", &[(To::At(1 << 40), 16, INDIRECT, 0)], &[], ALWAYS),
    indirect("indirect-over-end", &[(To::End(8), 16, INDIRECT, 0)], &[], ALWAYS),
    indirect("indirect-wraps", &[(To::At(u64::MAX - 7), 16, INDIRECT, 0)], &[], ALWAYS),
    indirect(
        "indirect-loop",
        &[(To::Table, 32, INDIRECT, 0)],
        &[GOOD_AND_ON, (To::Buffer, 64, RIGHT | NEXT, 0)],
        ALWAYS,
    ),
    indirect(
        "indirect-next-beyond",
        &[(To::Table, 32, INDIRECT, 0)],
        &[(To::Buffer, 64, RIGHT | NEXT, 2)],
        ALWAYS,
    ),
    // 2.7.5.3.2: a device must support both.
    indirect("chain-then-indirect", &[GOOD_AND_ON, (To::Table, 16, INDIRECT, 0)], &[GOOD], NEVER),
    indirect("table-marked-write", &[(To::Table, 16, INDIRECT | WRITE, 0)], &[GOOD], NEVER),
];

fn is_block(role: Role) -> bool {
    role == Role::Block
}

impl Chain {
    /// Offers the chain to a device that has just been started.
    pub(super) fn offer(&self, bench: &Bench, target: &Target) -> Outcome {
        bench.start()?;
        bench.buffer.part(0, 64).write_bytes(0, &[b'.'; 64]);
        for (index, part) in (0..).zip(self.table) {
            target.ring.set_descriptor(index, descriptor(*part, bench, target));
        }
        for (index, part) in (0..).zip(self.indirect) {
            write(&bench.table, 16 * index, descriptor(*part, bench, target));
        }
        (0..SIZE).for_each(|index| target.ring.set_avail(index, self.head));
        self.judge(bench, target)
    }

    fn judge(&self, bench: &Bench, target: &Target) -> Outcome {
        let (breaks, ring) = ((self.breaks)(target.role), &target.ring);
        // A console first hands back one empty buffer. Before it takes input, it waits until all
        // buffers are offered again.
        let patient = target.role == Role::ConsoleReceive;
        ring.set_avail_index(if patient { SIZE } else { 1 });
        target.notify();
        if patient && !breaks {
            return bench.expect_used(target, 1);
        }
        match (breaks, target.role.answers()) {
            (true, _) => bench.expect_broken(),
            (false, true) => bench.expect_used(target, 1),
            (false, false) => bench.expect_whole(),
        }
    }
}

fn descriptor((to, length, flags, next): Part, bench: &Bench, target: &Target) -> Descriptor {
    let address = match to {
        To::Buffer => bench.buffer.address(),
        To::Table => bench.table.address(),
        To::UsedRing => target.ring.used.address(),
        To::Bar => bench.device.common.address(),
        To::End(before) => bench.ram_end - before,
        To::At(address) => address,
    };
    let for_guest = target.role.is_for_guest();
    let write = flags & RIGHT != 0 && for_guest || flags & WRONG != 0 && !for_guest;
    let flags = flags & !(RIGHT | WRONG) | if write { WRITE } else { 0 };
    Descriptor { address, length, flags, next }
}

fn write(table: &Region, at: u64, descriptor: Descriptor) {
    table.write(at, descriptor.address);
    table.write(at + 8, descriptor.length);
    table.write(at + 12, descriptor.flags);
    table.write(at + 14, descriptor.next);
}
