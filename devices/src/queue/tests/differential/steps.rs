//! What a driver and a device can do with a legal ring.

use proptest::prelude::*;

/// What the driver or the device does next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Offer(Offer),
    /// Take at most `chains` chains as one request, and fill `percent` of their room.
    Serve {
        chains: usize,
        percent: usize,
    },
    Signal,
    AskForNotification,
    RefuseNotification,
    /// The driver asks for an interrupt at an entry this far from the last that it saw.
    UsedEvent(i16),
    /// The driver sets NO_INTERRUPT, which means nothing with EVENT_IDX.
    NoInterrupt(bool),
}

/// A chain: the lengths of its buffers, and how they lie in the tables.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) from_guest: Vec<u32>,
    pub(super) to_guest: Vec<u32>,
    /// How many descriptors lie in the queue's own table; the others lie in an indirect one.
    pub(super) direct: Option<usize>,
    /// Descriptors of the indirect table that do not belong to the chain.
    pub(super) unused: usize,
    /// Whether the descriptor of the indirect table has the flag WRITE.
    pub(super) writable_table: bool,
    /// Which free descriptors are taken.
    pub(super) picks: Vec<usize>,
}

fn offer() -> impl Strategy<Value = Offer> {
    let buffers = || prop::collection::vec(0..40_u32, 0..5);
    let picks = prop::collection::vec(any::<usize>(), 24);
    let layout = (prop::option::of(0..4_usize), 0..4_usize, any::<bool>(), picks);
    (buffers(), buffers(), layout).prop_map(|(from_guest, to_guest, layout)| {
        let (direct, unused, writable_table, picks) = layout;
        Offer { from_guest, to_guest, direct, unused, writable_table, picks }
    })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => offer().prop_map(Step::Offer),
        6 => (1..4_usize, 0..=100_usize).prop_map(|(chains, percent)| Step::Serve { chains, percent }),
        3 => Just(Step::Signal),
        1 => Just(Step::AskForNotification),
        1 => Just(Step::RefuseNotification),
        2 => (-3..40_i16).prop_map(Step::UsedEvent),
        1 => any::<bool>().prop_map(Step::NoInterrupt),
    ]
}
