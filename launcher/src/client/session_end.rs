//! How a session at a console ended (`lguest console`, `lguest log --follow`).

use host::exit::{End, Interruption};

use crate::exit_status::ExitStatus;

/// How a session at a console ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The user has left the console.
    Left,
    /// The guest's launcher ended the session with this status, and this reason.
    SentAway(u8, String),
    /// The client received this signal.
    Signal(i32),
    /// The host, the connection or the guest's launcher failed. The text is the complete message.
    Failed(String),
}

impl SessionEnd {
    /// The client's exit status.
    pub(super) fn status(&self) -> u8 {
        let status = match self {
            Self::Left => ExitStatus::SUCCESS,
            Self::SentAway(status, _) => ExitStatus::of_number(*status),
            Self::Signal(number) => ExitStatus::of_signal(*number),
            Self::Failed(_) => ExitStatus::FAILED,
        };
        status.number()
    }

    /// The message for the user.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Left => "left the console; the guest goes on".to_string(),
            Self::Signal(number) => {
                format!("signal {number}: left the console; the guest goes on")
            }
            Self::SentAway(_, why) | Self::Failed(why) => why.clone(),
        }
    }
}

impl End for SessionEnd {}

impl From<Interruption> for SessionEnd {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            // Only a launcher counts ^C.
            Interruption::CtrlC => Self::Left,
            Interruption::Signal(number) => Self::Signal(number),
            Interruption::Failed(why) => Self::Failed(why),
        }
    }
}
