//! What the launcher and the init of `--exec` have to agree on: the [`frame`]s between them, and
//! the [`order`] that the launcher puts into the initial file system. `main.rs` is the init. The
//! launcher contains its program (`launcher/build.rs`) and is the other end
//! (`launcher/src/exec.rs`).

pub mod frame;
pub mod order;

/// The directory with everything that the launcher puts into the guest's initial file system.
pub const DIRECTORY: &str = "/.lguest";

/// The init's program, for `rdinit=`.
pub const INIT: &str = "/.lguest/init";

/// The file with the init's task, see [`order::SetUpOrder`].
pub const SET_UP: &str = "/.lguest/set-up";

/// The directory with the modules of the kernel. The files are called 0, 1 and so on. It is there
/// for the set-up, and made anew for a command that needs modules.
pub const MODULES: &str = "/.lguest/modules";

/// The directory with the user's files for a command, which are called 0, 1 and so on.
pub const FILES: &str = "/.lguest/files";

/// The last file that the launcher puts into the guest. If it exists, all files exist.
pub const COMPLETE: &str = "/.lguest/complete";

/// An error of an init that has no console to report it on. The init writes it as a byte to the
/// port that ends a guest with a status (0x501).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mute {
    /// The kernel has no driver for virtio consoles.
    NoDriver,
    /// The kernel has the driver, but the console of the order does not exist.
    NoConsole,
    /// The kernel has no driver, and refused the module of this index.
    Refused(u8),
}

impl Mute {
    /// The first byte that stands for a module.
    const FIRST_MODULE: u8 = 16;

    /// Returns the byte for this error.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        match self {
            Self::NoDriver => 1,
            Self::NoConsole => 2,
            Self::Refused(index) => Self::FIRST_MODULE.saturating_add(index),
        }
    }

    /// Returns the error for a byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::NoDriver),
            2 => Some(Self::NoConsole),
            _ => byte.checked_sub(Self::FIRST_MODULE).map(Self::Refused),
        }
    }
}
