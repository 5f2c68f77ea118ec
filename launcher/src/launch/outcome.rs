//! How a launch went: the guest's end, or what a boot test decided; with its exit status and its
//! words.

use std::time::Duration;

use host::writer::last_words::Patience;

use crate::ending::Ending;
use crate::exit_status::Status;
use crate::trial::Verdict;

/// How long a file or pipe may take to take the last of the output when there is no more time
/// (--timeout).
const LATE_WORDS: Duration = Duration::from_secs(5);

/// How a launch went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The guest ended like this.
    Ended(Ending),
    /// A boot test, or `--timeout`, has decided.
    Decided(Verdict),
}

impl Outcome {
    /// The launcher's exit status.
    pub(crate) fn status(&self) -> u8 {
        let status = match self {
            Self::Ended(ending) => match ending {
                Ending::PoweredOff | Ending::Reset(_) | Ending::Stopped => Status::WELL,
                Ending::Status(number) | Ending::Exited(number) => Status::told(*number),
                Ending::Failed(_) | Ending::Decided => Status::FAILED,
                Ending::Panicked => Status::PANICKED,
                Ending::Crashed(_) => Status::CRASHED,
                Ending::Interrupted => Status::INTERRUPTED,
                Ending::Killed => Status::KILLED,
                Ending::Signal(number) => Status::of_signal(*number),
            },
            Self::Decided(verdict) => match verdict {
                Verdict::Seen(_) => Status::WELL,
                Verdict::Panicked(_) => Status::PANICKED,
                Verdict::Unwanted(_) => Status::UNWANTED,
                Verdict::Unseen(_) => Status::UNSEEN,
                Verdict::TimedOut(_) => Status::LATE,
                Verdict::Unknown(_) => Status::FAILED,
            },
        };
        status.number()
    }

    /// The message for the user, if one is needed.
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
                Ending::Signal(number) => Some(format!("signal {number}: guest stopped")),
            },
            Self::Decided(verdict) => match verdict {
                Verdict::Panicked(words) => Some(format!("guest panicked: {words}")),
                Verdict::Seen(why)
                | Verdict::Unwanted(why)
                | Verdict::Unseen(why)
                | Verdict::TimedOut(why)
                | Verdict::Unknown(why) => Some(why.clone()),
            },
        }
    }

    /// What clients at the guest's consoles are told.
    pub(super) fn farewell(&self) -> String {
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
                | Verdict::Unwanted(_)
                | Verdict::Unseen(_)
                | Verdict::TimedOut(_) => true,
                Verdict::Seen(_) | Verdict::Unknown(_) => false,
            },
        }
    }

    /// Whether the guest ended by itself, and perhaps without a word.
    pub(super) fn is_the_guests_own(&self) -> bool {
        matches!(
            self,
            Self::Ended(Ending::PoweredOff | Ending::Reset(_) | Ending::Panicked)
                | Self::Decided(Verdict::Unseen(_))
        )
    }

    /// How long the last of the output may take to be written.
    pub(super) fn patience(&self) -> Patience {
        match self {
            Self::Ended(Ending::Killed) => Patience::None,
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
            (Verdict::Seen(x()), 0),
            (Verdict::Panicked(x()), 101),
            (Verdict::Unwanted(x()), 103),
            (Verdict::Unseen(x()), 104),
            (Verdict::TimedOut(x()), 124),
            (Verdict::Unknown(x()), 1),
        ] {
            assert_eq!(Outcome::Decided(verdict).status(), status);
        }
    }
}
