//! How a stay at a console of a guest ended (`lguest console`, `lguest log --follow`).

use host::exit::{Interruption, Replaceable};

use crate::exit_status::Status;

/// How a client left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stay {
    /// The user has left the console.
    Left,
    /// The guest's launcher ended the stay with this status, and said why.
    SentAway(u8, String),
    /// This signal was sent to the client.
    Signal(i32),
    /// The host, the connection or the guest's launcher failed. The text says all.
    Failed(String),
}

impl Stay {
    /// The client's exit status.
    pub(super) fn status(&self) -> u8 {
        let status = match self {
            Self::Left => Status::WELL,
            Self::SentAway(status, _) => Status::told(*status),
            Self::Signal(number) => Status::of_signal(*number),
            Self::Failed(_) => Status::FAILED,
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

impl Replaceable for Stay {}

impl From<Interruption> for Stay {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::CtrlC => Self::Left,
            Interruption::Signal(number) => Self::Signal(number),
            Interruption::Failed(why) => Self::Failed(why),
        }
    }
}
