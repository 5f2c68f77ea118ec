//! The exit statuses, each with its number and its description. Launches, clients and `main` take
//! them from here; help and the manual page print them. lguest has no other status.

use std::process::ExitCode;

use devices::number::low_u8;

/// An exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitStatus(u8);

macro_rules! statuses {
    ($($($name:ident =)? $number:literal: $text:literal,)*) => {
        impl ExitStatus {
            $($(#[doc = $text] pub(crate) const $name: Self = Self($number);)?)*

            /// Each status as help shows it, and its description.
            pub(crate) const TABLE: &[(&str, &str)] = &[$((concat!($number), $text)),*];
        }
    };
}

statuses! {
    SUCCESS = 0: "power-off by the guest (or its reset, with --no-reboot), lguest stop or lguest snapshot --stop",
    "N": "the guest wrote N to port 0x501; with --exec, its command's status",
    FAILED = 1: "the host or the launcher failed",
    USAGE = 2: "the command line is wrong, or a file named by --config",
    PANICKED = 101: "the guest's kernel panicked (told by pvpanic, or its words)",
    CRASHED = 102: "the guest crashed: triple fault, KVM internal error",
    FORBIDDEN_SEEN = 103: "what --fail-on forbids was printed, or the kernel failed",
    EXPECTATION_MISSED = 104: "the guest ended before all that --expect wants was seen",
    TIMED_OUT = 124: "it was not over within --timeout",
    INTERRUPTED = 130: "three ^C",
    KILLED = 137: "lguest kill, or SIGKILL",
    "128+N": "the launcher was sent signal N",
}

impl ExitStatus {
    /// The status that a guest, a command or a launcher reports: "N" in the table.
    pub(crate) fn of_number(number: u8) -> Self {
        Self(number)
    }

    /// The status of an end by a signal: "128+N" in the table.
    pub(crate) fn of_signal(number: i32) -> Self {
        // A signal has a number from 1 to 64.
        Self(128 | low_u8(number.unsigned_abs()))
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        status.number().into()
    }
}
