//! The verdict of a boot test, from the match and from the guest's end. [`super::BootTest`] asks
//! for it.

use std::time::Duration;

use super::follower::Examined;
use super::matcher::Match;
use crate::ending::Ending;

/// The verdict of a boot test. The text gives the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All expected patterns matched.
    Passed(String),
    /// A forbidden pattern matched, or the kernel reported a failure.
    ForbiddenSeen(String),
    /// The guest ended before all expected patterns matched.
    ExpectationMissed(String),
    /// The guest's kernel panicked, with this line on its console.
    Panicked(String),
    /// The guest ran longer than `--timeout`.
    TimedOut(String),
    /// Some of the output was lost before it was examined.
    OutputLost(String),
}

/// The verdict of a match, this long after the launch.
fn of(found: &Match, after: Duration) -> Verdict {
    match found {
        Match::Expected(line) => {
            Verdict::Passed(format!("seen after {:.1} s: {line}", after.as_secs_f64()))
        }
        Match::Forbidden(pattern, line) => {
            Verdict::ForbiddenSeen(format!("--fail-on \"{pattern}\" matched: {line}"))
        }
        Match::KernelFailure(line) => {
            Verdict::ForbiddenSeen(format!("the guest's kernel fails: {line}"))
        }
        Match::Panic(line) => Verdict::Panicked(line.clone()),
    }
}

/// The verdict on a guest that ended like this, or that timed out (None). A match counts first;
/// then whether all expected patterns matched. Without a verdict the guest's end counts, as does
/// every end that is not the guest's own.
pub(super) fn decide(
    examined: Examined,
    after: Duration,
    ended: Option<&Ending>,
) -> Option<Verdict> {
    if let Some(Ending::Failed(_) | Ending::Interrupted | Ending::Killed | Ending::Signal(_)) =
        ended
    {
        return None;
    }
    let ended_well = ended.filter(|ended| ended.is_good());
    let verdict = match (examined.found, examined.awaited, ended_well) {
        // pvpanic reported the panic; the console does not have its text yet.
        (Some(Match::KernelFailure(_)), ..) if ended == Some(&Ending::Panicked) => None,
        (Some(found), ..) => Some(of(&found, after)),
        (None, Some(awaited), Some(ended)) => Some(Verdict::ExpectationMissed(format!(
            "{} before this was seen: \"{awaited}\"",
            how(ended)
        ))),
        (None, ..) => None,
    };
    let is_good = match &verdict {
        Some(verdict) => matches!(verdict, Verdict::Passed(_)),
        None => ended_well.is_some(),
    };
    if is_good && examined.lost > 0 {
        return Some(Verdict::OutputLost(format!(
            "{} bytes of the guest's output were lost before they were looked at: what they \
             said is not known",
            examined.lost
        )));
    }
    verdict
}

/// A good end, in words.
fn how(ended: &Ending) -> String {
    match ended {
        Ending::Reset(how) => format!("guest reset by {how}"),
        Ending::Stopped => "stopped by `lguest stop`".to_string(),
        Ending::Saved => "saved by `lguest snapshot --stop`".to_string(),
        Ending::Status(_) => "guest ended with status 0".to_string(),
        Ending::Exited(_) => "the command ended with status 0".to_string(),
        _ => "guest powered off".to_string(),
    }
}

/// A duration in the form of the command line. From a minute on, whole minutes and hours are units.
pub(super) fn time(time: Duration) -> String {
    let (seconds, milliseconds) = (time.as_secs(), time.subsec_millis());
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes, seconds % 60, milliseconds) {
        (_, _, _, 1..) => format!("{}ms", time.as_millis()),
        (1.., 0, 0, 0) => format!("{hours}h"),
        (1.., 1.., 0, 0) => format!("{hours}h{minutes}m"),
        (0, 2.., 0, 0) => format!("{minutes}m"),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn verdict(
        found: Option<Match>,
        awaited: Option<&str>,
        lost: u64,
        ended: Option<&Ending>,
    ) -> Option<Verdict> {
        let awaited = awaited.map(str::to_string);
        let examined = Examined { found, at: Instant::now(), awaited, lost };
        decide(examined, Duration::ZERO, ended)
    }

    #[test]
    fn a_match_counts_before_the_end() {
        let x = || "x".to_string();
        for ended in [
            Some(Ending::PoweredOff),
            Some(Ending::Reset("x")),
            Some(Ending::Status(7)),
            Some(Ending::Panicked),
            Some(Ending::Stopped),
            Some(Ending::Decided),
            None,
        ] {
            let of = |found| verdict(found, None, 0, ended.as_ref());
            assert!(
                matches!(of(Some(Match::Expected(x()))), Some(Verdict::Passed(_))),
                "{ended:?}"
            );
            let unwanted = of(Some(Match::Forbidden("p".into(), x())));
            assert!(matches!(unwanted, Some(Verdict::ForbiddenSeen(_))), "{ended:?}");
            assert_eq!(of(Some(Match::Panic(x()))), Some(Verdict::Panicked(x())), "{ended:?}");
            let failure = of(Some(Match::KernelFailure(x())));
            match ended {
                Some(Ending::Panicked) => assert_eq!(failure, None),
                _ => assert!(matches!(failure, Some(Verdict::ForbiddenSeen(_))), "{ended:?}"),
            }
            assert_eq!(of(None), None);
        }
        for ended in [Ending::Interrupted, Ending::Killed, Ending::Signal(15)] {
            assert_eq!(verdict(Some(Match::Expected(x())), None, 0, Some(&ended)), None);
        }
    }

    #[test]
    fn a_missed_expectation_is_not_a_success() {
        for ended in [Ending::PoweredOff, Ending::Reset("x"), Ending::Status(0), Ending::Stopped] {
            let verdict = verdict(None, Some("login: "), 0, Some(&ended));
            let Some(Verdict::ExpectationMissed(text)) = verdict else {
                panic!("{ended:?}: {verdict:?}")
            };
            assert!(text.ends_with("this was seen: \"login: \""));
        }
        assert_eq!(verdict(None, Some("x"), 0, Some(&Ending::Status(7))), None);
        assert_eq!(verdict(None, Some("x"), 0, None), None);
    }

    #[test]
    fn lost_output_is_not_a_success() {
        let is_unknown = |found, ended: Option<&Ending>| {
            matches!(verdict(found, None, 1, ended), Some(Verdict::OutputLost(_)))
        };
        let seen = || Some(Match::Expected("x".into()));
        assert!(is_unknown(seen(), Some(&Ending::PoweredOff)) && is_unknown(seen(), None));
        assert!(is_unknown(None, Some(&Ending::PoweredOff)));
        assert!(!is_unknown(None, Some(&Ending::Status(7))) && !is_unknown(None, None));
        assert!(!is_unknown(Some(Match::Panic("x".into())), Some(&Ending::PoweredOff)));
    }

    #[test]
    fn times_are_printed_as_they_are_given() {
        for (milliseconds, text) in [
            (10_000, "10s"),
            (500, "500ms"),
            (1500, "1500ms"),
            (0, "0s"),
            (60_000, "60s"),
            (90_000, "90s"),
            (120_000, "2m"),
            (5_400_000, "1h30m"),
            (3_600_000, "1h"),
            (86_400_000, "24h"),
            (3_661_000, "3661s"),
        ] {
            assert_eq!(time(Duration::from_millis(milliseconds)), text);
        }
    }
}
