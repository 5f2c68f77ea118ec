//! The exit statuses: each with its number, and what it tells in words. Launches, clients and
//! `main` take them from here, and so do help and the manual page: lguest has no other
//! status.

use std::process::ExitCode;

/// An exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status(u8);

macro_rules! statuses {
    ($($($name:ident =)? $number:literal: $text:literal,)*) => {
        impl Status {
            $($(#[doc = $text] pub(crate) const $name: Self = Self($number);)?)*

            /// Each of them as it is shown, and what it tells.
            pub(crate) const TABLE: &[(&str, &str)] = &[$((concat!($number), $text)),*];
        }
    };
}

statuses! {
    WELL = 0: "power-off by the guest (or its reset, with --no-reboot), or lguest stop",
    "N": "the guest wrote N to port 0x501; with --exec, its command's status",
    FAILED = 1: "the host or the launcher failed",
    USAGE = 2: "the command line is wrong, or a file named by --config",
    PANICKED = 101: "the guest's kernel panicked (told by pvpanic, or its words)",
    CRASHED = 102: "the guest crashed: triple fault, KVM internal error",
    UNWANTED = 103: "what --fail-on forbids was printed, or the kernel failed",
    UNSEEN = 104: "the guest ended before all that --expect wants was seen",
    LATE = 124: "it was not over within --timeout",
    INTERRUPTED = 130: "three ^C",
    KILLED = 137: "lguest kill, or SIGKILL",
    "128+N": "the launcher was sent signal N",
}

impl Status {
    /// The "N" of the table: what the guest or its command says, or who sends one away from a
    /// console.
    pub(crate) fn told(number: u8) -> Self {
        Self(number)
    }

    /// "128+N".
    pub(crate) fn of_signal(number: i32) -> Self {
        Self(128 | u8::try_from(number).unwrap_or(0))
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        status.number().into()
    }
}
