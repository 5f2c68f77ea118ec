//! What the launcher and the init of a guest that runs one command (`--exec`) have to agree
//! on: the [`frame`]s between them, the [`order`] that the launcher leaves in the initial
//! file system, and where that is. `main.rs` is the init; the launcher carries it
//! (`launcher/build.rs`) and is the other end (`launcher/src/exec.rs`).

pub mod frame;
pub mod order;

/// All that the launcher puts into the guest's initial file system is below this directory.
pub const DIRECTORY: &str = "/.lguest";

/// The init's program, for `rdinit=`.
pub const INIT: &str = "/.lguest/init";

/// What the init is to do, see [`order::Order`].
pub const ORDER: &str = "/.lguest/order";

/// The command, for `sh -c`: any bytes but NUL.
pub const COMMAND: &str = "/.lguest/command";

/// Modules of the kernel: files in here are called 0, 1 and so on.
pub const MODULES: &str = "/.lguest/modules";

/// Files of the user's, the same.
pub const FILES: &str = "/.lguest/files";

/// The last file that the launcher puts into the guest: if it is there, all are.
pub const COMPLETE: &str = "/.lguest/complete";

/// How the init says what is wrong when it has no console to say it on: a byte written to
/// the port that ends a guest with a status (0x501).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mute {
    /// The kernel has no driver for virtio consoles.
    NoDriver,
    /// It has, but the console of the order is not there.
    NoConsole,
    /// It refused the module of this index, and has no driver.
    Refused(u8),
}

impl Mute {
    /// The first byte that stands for a module.
    const FIRST_MODULE: u8 = 16;

    /// The byte that says so.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        match self {
            Self::NoDriver => 1,
            Self::NoConsole => 2,
            Self::Refused(index) => Self::FIRST_MODULE.saturating_add(index),
        }
    }

    /// What a byte says.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::NoDriver),
            2 => Some(Self::NoConsole),
            _ => byte.checked_sub(Self::FIRST_MODULE).map(Self::Refused),
        }
    }
}
