//! Interrupts: the vectors, the local APIC that delivers them, and the two ways to wait for one.

use core::hint::spin_loop;

use crate::boot_params::Arguments;
use crate::memory::Region;
use crate::start;

/// The vectors of the console's three messages.
pub(crate) const CONFIG: u8 = 48;
pub(crate) const RECEIVE: u8 = 49;
pub(crate) const TRANSMIT: u8 = 50;

/// The vector that the APIC delivers when the interrupt has disappeared.
const SPURIOUS: u8 = 63;

/// The local APIC (SDM 3A, 11.4) and its spurious-interrupt register, which also enables it.
pub(crate) const LOCAL_APIC: u64 = 0xfee0_0000;
const SPURIOUS_VECTOR: u64 = 0xf0;
const ENABLE: u32 = 1 << 8;

/// Enables the delivery of messages.
pub(crate) fn enable() {
    let Some(apic) = Region::outside(LOCAL_APIC, 4096) else {
        fail!("probe: the image lies where the local APIC is")
    };
    apic.write(SPURIOUS_VECTOR, ENABLE | u32::from(SPURIOUS));
}

/// Returns the address and the data of a message that interrupts the first CPU (SDM 3A, 11.11):
/// fixed delivery, edge triggered.
pub(crate) fn message(vector: u8) -> (u64, u32) {
    (LOCAL_APIC, vector.into())
}

/// How to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// By polling in user mode, with `pause`. This is quick, and shows whether the rings alone
    /// suffice.
    Spin,
    /// Asleep, by `hlt`. This shows whether every interrupt comes.
    Halt,
}

impl Wait {
    /// Returns the way that `wait=halt` chooses, or the default.
    pub(crate) fn chosen(arguments: &Arguments<'_>) -> Self {
        match arguments.value("wait") {
            None | Some("spin") => Self::Spin,
            Some("halt") => Self::Halt,
            Some(other) => fail!("probe: wait={other}: spin and halt are known"),
        }
    }

    /// Waits until `done` returns true. No interrupt is missed, because interrupts are counted
    /// before `done` is called.
    pub(crate) fn until(self, mut done: impl FnMut() -> bool) {
        loop {
            let total = start::total();
            if done() {
                return;
            }
            match self {
                Self::Spin => spin_loop(),
                Self::Halt => start::halt_unless_more_than(total),
            }
        }
    }
}
