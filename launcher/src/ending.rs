//! How a guest ended. What that makes of the launch is a `launch::Outcome`.

use host::exit::{Interruption, Replaceable};
use machine::end::{Crash, End};

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The guest switched itself off.
    PoweredOff,
    /// The guest asked for a reset; says by which means.
    Reset(&'static str),
    /// The guest wrote this byte to port 0x501.
    Status(u8),
    /// The command that the guest was to run has ended with this status (`--exec`).
    Exited(u8),
    /// The guest's kernel panicked, which pvpanic reports.
    Panicked,
    /// The guest cannot go on: triple fault, KVM internal error.
    Crashed(Crash),
    /// The host or the launcher failed. The text says all.
    Failed(String),
    /// A boot test ended it; [`crate::trial`] has the verdict.
    Decided,
    /// Three ^C on the terminal.
    Interrupted,
    /// `lguest stop`.
    Stopped,
    /// `lguest kill`.
    Killed,
    /// This signal was sent to the launcher.
    Signal(i32),
}

impl Ending {
    /// Whether the guest has done well, as far as its end says.
    pub(crate) fn is_good(&self) -> bool {
        matches!(
            self,
            Self::PoweredOff | Self::Reset(_) | Self::Stopped | Self::Status(0) | Self::Exited(0)
        )
    }
}

impl Replaceable for Ending {
    /// A guest that resets may go on. Its reset must not keep it from being ended.
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

impl From<End> for Ending {
    fn from(end: End) -> Self {
        match end {
            End::PoweredOff => Self::PoweredOff,
            End::Reset(means) => Self::Reset(means),
            End::Status(byte) => Self::Status(byte),
            End::Panicked => Self::Panicked,
            End::Crashed(crash) => Self::Crashed(crash),
            End::Failed(why) => Self::Failed(why),
        }
    }
}
