//! How a guest ended. A `launch::Outcome` is what this means for the launch.

use host::exit::{End, Interruption};
use machine::end::{Crash, MachineEnd};

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest or a client asked for a reset, by these means.
    Reset(&'static str),
    /// The guest wrote this byte to port 0x501.
    Status(u8),
    /// The command of `--exec` ended with this status.
    Exited(u8),
    /// The guest's kernel reported a panic through pvpanic.
    Panicked,
    /// The vCPUs cannot continue: a triple fault or a KVM internal error.
    Crashed(Crash),
    /// The host or the launcher failed. The text is the complete message.
    Failed(String),
    /// A boot test ended the guest. [`crate::boot_test`] has the verdict.
    Decided,
    /// The user pressed ^C three times on the terminal.
    Interrupted,
    /// A client sent `lguest stop`.
    Stopped,
    /// A client sent `lguest kill`.
    Killed,
    /// A client sent `lguest snapshot --stop`, and the guest is saved.
    Saved,
    /// The launcher received this signal.
    Signal(i32),
}

impl Ending {
    /// Whether the end itself reports no failure.
    pub(crate) fn is_good(&self) -> bool {
        matches!(
            self,
            Self::PoweredOff
                | Self::Reset(_)
                | Self::Stopped
                | Self::Saved
                | Self::Status(0)
                | Self::Exited(0)
        )
    }
}

impl End for Ending {
    /// Whether a later end may replace this one. A guest that resets may start again, and its reset
    /// must not keep the user from ending it.
    fn is_replaceable(&self) -> bool {
        matches!(self, Self::Reset(_))
    }
}

impl From<Interruption> for Ending {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::CtrlC => Self::Interrupted,
            Interruption::Signal(number) => Self::Signal(number),
            Interruption::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<MachineEnd> for Ending {
    fn from(end: MachineEnd) -> Self {
        match end {
            MachineEnd::PoweredOff => Self::PoweredOff,
            MachineEnd::Reset(means) => Self::Reset(means),
            MachineEnd::Status(byte) => Self::Status(byte),
            MachineEnd::Panicked => Self::Panicked,
            MachineEnd::Crashed(crash) => Self::Crashed(crash),
            MachineEnd::Failed(why) => Self::Failed(why),
        }
    }
}
