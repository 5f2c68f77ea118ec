//! The outcome of a launch: the guest's end, or the verdict of a boot test; with its exit status
//! and its message.

use std::time::Duration;

use host::writer::last_words::Patience;

use crate::boot_test::Verdict;
use crate::ending::Ending;
use crate::exit_status::ExitStatus;

/// How long a file or pipe may take to accept the last of the output after a timeout (--timeout),
/// or after the guest was saved.
const LATE_WORDS: Duration = Duration::from_secs(5);

/// The outcome of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The guest ended like this.
    Ended(Ending),
    /// A boot test decided, or `--timeout`.
    Decided(Verdict),
}

impl Outcome {
    /// The launcher's exit status.
    pub(crate) fn status(&self) -> u8 {
        let status = match self {
            Self::Ended(ending) => match ending {
                Ending::PoweredOff | Ending::Reset(_) | Ending::Stopped | Ending::Saved => {
                    ExitStatus::SUCCESS
                }
                Ending::Status(number) | Ending::Exited(number) => ExitStatus::of_number(*number),
                Ending::Failed(_) | Ending::Decided => ExitStatus::FAILED,
                Ending::Panicked => ExitStatus::PANICKED,
                Ending::Crashed(_) => ExitStatus::CRASHED,
                Ending::Interrupted => ExitStatus::INTERRUPTED,
                Ending::Killed => ExitStatus::KILLED,
                Ending::Signal(number) => ExitStatus::of_signal(*number),
            },
            Self::Decided(verdict) => match verdict {
                Verdict::Passed(_) => ExitStatus::SUCCESS,
                Verdict::Panicked(_) => ExitStatus::PANICKED,
                Verdict::ForbiddenSeen(_) => ExitStatus::FORBIDDEN_SEEN,
                Verdict::ExpectationMissed(_) => ExitStatus::EXPECTATION_MISSED,
                Verdict::TimedOut(_) => ExitStatus::TIMED_OUT,
                Verdict::OutputLost(_) => ExitStatus::FAILED,
            },
        };
        status.number()
    }

    /// The message for the user, if the outcome needs one.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Ended(ending) => match ending {
                Ending::PoweredOff | Ending::Status(_) | Ending::Exited(_) => None,
                Ending::Reset(how) => Some(format!("guest reset by {how}; not started again")),
                Ending::Panicked => Some("guest panicked".to_string()),
                Ending::Crashed(crash) => Some(format!("guest crashed: {}", crash.text)),
                Ending::Failed(why) => Some(why.clone()),
                Ending::Decided => Some("the boot test ended without a verdict".to_string()),
                Ending::Interrupted => Some("three ^C: guest stopped".to_string()),
                Ending::Stopped => Some("stopped by `lguest stop`".to_string()),
                Ending::Killed => Some("killed by `lguest kill`".to_string()),
                Ending::Saved => Some("saved by `lguest snapshot --stop`".to_string()),
                Ending::Signal(number) => Some(format!("signal {number}: guest stopped")),
            },
            Self::Decided(verdict) => match verdict {
                Verdict::Panicked(words) => Some(format!("guest panicked: {words}")),
                Verdict::Passed(why)
                | Verdict::ForbiddenSeen(why)
                | Verdict::ExpectationMissed(why)
                | Verdict::TimedOut(why)
                | Verdict::OutputLost(why) => Some(why.clone()),
            },
        }
    }

    /// The message for the clients at the guest's consoles.
    pub(super) fn notice_for_clients(&self) -> String {
        self.text().unwrap_or_else(|| match self {
            Self::Ended(Ending::Exited(status)) => {
                format!("its command has ended with status {status}")
            }
            _ => "guest powered off".to_string(),
        })
    }

    /// Whether the guest failed in a way that the last lines of its output may explain.
    pub(super) fn needs_last_lines(&self) -> bool {
        match self {
            Self::Ended(ending) => *ending == Ending::Panicked,
            Self::Decided(verdict) => match verdict {
                Verdict::Panicked(_)
                | Verdict::ForbiddenSeen(_)
                | Verdict::ExpectationMissed(_)
                | Verdict::TimedOut(_) => true,
                Verdict::Passed(_) | Verdict::OutputLost(_) => false,
            },
        }
    }

    /// Whether the guest ended by itself, and may have printed nothing about it.
    pub(super) fn ended_by_itself(&self) -> bool {
        matches!(
            self,
            Self::Ended(Ending::PoweredOff | Ending::Reset(_) | Ending::Panicked)
                | Self::Decided(Verdict::ExpectationMissed(_))
        )
    }

    /// How long the rest of the output may take to be written.
    pub(super) fn patience(&self) -> Patience {
        match self {
            Self::Ended(Ending::Killed) => Patience::None,
            // Only what readers have taken already is written.
            Self::Ended(Ending::Saved) => Patience::Bounded(LATE_WORDS),
            Self::Ended(Ending::Signal(_) | Ending::Interrupted | Ending::Stopped) => {
                Patience::OnTerminal
            }
            Self::Decided(Verdict::TimedOut(_)) => Patience::Bounded(LATE_WORDS),
            _ => Patience::Unbounded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_status() {
        let x = || "x".to_string();
        for (ending, status) in [
            (Ending::PoweredOff, 0),
            (Ending::Reset("x"), 0),
            (Ending::Stopped, 0),
            (Ending::Saved, 0),
            (Ending::Status(7), 7),
            (Ending::Exited(3), 3),
            (Ending::Failed(x()), 1),
            (Ending::Panicked, 101),
            (Ending::Crashed(machine::end::Crash { text: x(), by_kvm: false }), 102),
            (Ending::Interrupted, 130),
            (Ending::Killed, 137),
            (Ending::Signal(15), 143),
        ] {
            assert_eq!(ending.is_good(), status == 0, "{ending:?}");
            assert_eq!(Outcome::Ended(ending).status(), status);
        }
        for (verdict, status) in [
            (Verdict::Passed(x()), 0),
            (Verdict::Panicked(x()), 101),
            (Verdict::ForbiddenSeen(x()), 103),
            (Verdict::ExpectationMissed(x()), 104),
            (Verdict::TimedOut(x()), 124),
            (Verdict::OutputLost(x()), 1),
        ] {
            assert_eq!(Outcome::Decided(verdict).status(), status);
        }
    }
}
