//! What a boot test decides: by what was found, and by how the guest ended. Used by
//! [`super::Trial`].

use std::time::Duration;

use super::follower::Settled;
use super::matcher::Found;
use crate::ending::Ending;

/// What a boot test decided. The text says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything that was waited for has been printed.
    Seen(String),
    /// Something was printed that must not be.
    Unwanted(String),
    /// The guest ended before everything was printed that was waited for.
    Unseen(String),
    /// The guest's kernel panicked, in these words on its console.
    Panicked(String),
    /// It was not over in time.
    TimedOut(String),
    /// Some of the output was lost before it was looked at.
    Unknown(String),
}

/// The verdict that follows from what was found, so long after the launch.
fn of(found: &Found, after: Duration) -> Verdict {
    match found {
        Found::Seen(line) => {
            Verdict::Seen(format!("seen after {:.1} s: {line}", after.as_secs_f64()))
        }
        Found::Unwanted(pattern, line) => {
            Verdict::Unwanted(format!("--fail-on \"{pattern}\" matched: {line}"))
        }
        Found::Failure(line) => Verdict::Unwanted(format!("the guest's kernel fails: {line}")),
        Found::Panic(line) => Verdict::Panicked(line.clone()),
    }
}

/// The verdict on a guest that ended like this, or whose time is up (None). What it printed
/// before counts first; then whether everything was printed that was waited for. Without a
/// verdict, the end stays what it is, as does every end that is not the guest's own.
pub(super) fn settle(settled: Settled, after: Duration, ended: Option<&Ending>) -> Option<Verdict> {
    if let Some(Ending::Failed(_) | Ending::Interrupted | Ending::Killed | Ending::Signal(_)) =
        ended
    {
        return None;
    }
    let ended_well = ended.filter(|ended| ended.is_good());
    let verdict = match (settled.found, settled.awaited, ended_well) {
        // It said so by pvpanic, and has not said much of it yet.
        (Some(Found::Failure(_)), ..) if ended == Some(&Ending::Panicked) => None,
        (Some(found), ..) => Some(of(&found, after)),
        (None, Some(awaited), Some(ended)) => {
            Some(Verdict::Unseen(format!("{} before this was seen: \"{awaited}\"", how(ended))))
        }
        (None, ..) => None,
    };
    let is_good = match &verdict {
        Some(verdict) => matches!(verdict, Verdict::Seen(_)),
        None => ended_well.is_some(),
    };
    if is_good && settled.lost > 0 {
        return Some(Verdict::Unknown(format!(
            "{} bytes of the guest's output were lost before they were looked at: what they \
             said is not known",
            settled.lost
        )));
    }
    verdict
}

/// A good end, in words.
fn how(ended: &Ending) -> String {
    match ended {
        Ending::Reset(how) => format!("guest reset by {how}"),
        Ending::Stopped => "stopped by `lguest stop`".to_string(),
        Ending::Status(_) => "guest ended with status 0".to_string(),
        Ending::Exited(_) => "the command ended with status 0".to_string(),
        _ => "guest powered off".to_string(),
    }
}

/// A time as the command line has it. From a minute on, whole minutes and hours are units.
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
        found: Option<Found>,
        awaited: Option<&str>,
        lost: u64,
        ended: Option<&Ending>,
    ) -> Option<Verdict> {
        let awaited = awaited.map(str::to_string);
        let settled = Settled { found, at: Instant::now(), awaited, lost };
        settle(settled, Duration::ZERO, ended)
    }

    #[test]
    fn what_was_printed_counts_before_how_it_ended() {
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
            assert!(matches!(of(Some(Found::Seen(x()))), Some(Verdict::Seen(_))), "{ended:?}");
            let unwanted = of(Some(Found::Unwanted("p".into(), x())));
            assert!(matches!(unwanted, Some(Verdict::Unwanted(_))), "{ended:?}");
            assert_eq!(of(Some(Found::Panic(x()))), Some(Verdict::Panicked(x())), "{ended:?}");
            let failure = of(Some(Found::Failure(x())));
            match ended {
                Some(Ending::Panicked) => assert_eq!(failure, None),
                _ => assert!(matches!(failure, Some(Verdict::Unwanted(_))), "{ended:?}"),
            }
            assert_eq!(of(None), None);
        }
        for ended in [Ending::Interrupted, Ending::Killed, Ending::Signal(15)] {
            assert_eq!(verdict(Some(Found::Seen(x())), None, 0, Some(&ended)), None);
        }
    }

    #[test]
    fn what_was_not_seen_is_no_success() {
        for ended in [Ending::PoweredOff, Ending::Reset("x"), Ending::Status(0), Ending::Stopped] {
            let verdict = verdict(None, Some("login: "), 0, Some(&ended));
            let Some(Verdict::Unseen(text)) = verdict else { panic!("{ended:?}: {verdict:?}") };
            assert!(text.ends_with("this was seen: \"login: \""));
        }
        assert_eq!(verdict(None, Some("x"), 0, Some(&Ending::Status(7))), None);
        assert_eq!(verdict(None, Some("x"), 0, None), None);
    }

    #[test]
    fn what_was_not_looked_at_is_no_success_either() {
        let is_unknown = |found, ended: Option<&Ending>| {
            matches!(verdict(found, None, 1, ended), Some(Verdict::Unknown(_)))
        };
        let seen = || Some(Found::Seen("x".into()));
        assert!(is_unknown(seen(), Some(&Ending::PoweredOff)) && is_unknown(seen(), None));
        assert!(is_unknown(None, Some(&Ending::PoweredOff)));
        assert!(!is_unknown(None, Some(&Ending::Status(7))) && !is_unknown(None, None));
        assert!(!is_unknown(Some(Found::Panic("x".into())), Some(&Ending::PoweredOff)));
    }

    #[test]
    fn times_are_told_as_they_are_given() {
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
