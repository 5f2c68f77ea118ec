//! What becomes of a guest's end in a boot test, in words and as an ending
//! ([`crate::exit`]).

use std::time::Duration;

use super::follower::Settled;
use super::matcher::Found;
use crate::exit::Ending;

/// The end that follows from what was found, so long after the launch.
pub(super) fn ending(found: &Found, after: Duration) -> Ending {
    match found {
        Found::Seen(line) => {
            Ending::Seen(format!("seen after {:.1} s: {line}", after.as_secs_f64()))
        }
        Found::Unwanted(pattern, line) => {
            Ending::Unwanted(format!("--fail-on \"{pattern}\" matched: {line}"))
        }
        Found::Failure(line) => Ending::Unwanted(format!("the guest's kernel fails: {line}")),
        Found::Panic(line) => Ending::Panicked(Some(line.clone())),
    }
}

/// The guest ended so. What it printed before counts first; then whether all has been
/// seen that was to be. An end that is not the guest's own stays what it is.
pub(super) fn settle(settled: Settled, after: Duration, ended: Ending) -> Ending {
    match ended {
        Ending::Failed(_)
        | Ending::Interrupted
        | Ending::Killed
        | Ending::Signal(_)
        | Ending::Detached
        | Ending::SentAway(..) => return ended,
        _ => {}
    }
    let ended = match (settled.found, settled.awaited) {
        // It said so by pvpanic, and has not said much of it yet.
        (Some(Found::Failure(_)), _) if matches!(ended, Ending::Panicked(_)) => ended,
        (Some(found), _) => ending(&found, after),
        (None, Some(awaited)) if ended.status() == 0 => {
            Ending::Unseen(format!("{} before this was seen: \"{awaited}\"", how(&ended)))
        }
        (None, _) => ended,
    };
    if ended.status() == 0 && settled.lost > 0 {
        return Ending::Failed(format!(
            "{} bytes of the guest's output were lost before they were looked at: what they \
             said is not known",
            settled.lost
        ));
    }
    ended
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

    fn settled(found: Option<Found>, awaited: Option<&str>, lost: u64) -> Settled {
        Settled { found, at: Instant::now(), awaited: awaited.map(str::to_string), lost }
    }

    fn status(found: Option<Found>, awaited: Option<&str>, lost: u64, ended: Ending) -> u8 {
        settle(settled(found, awaited, lost), Duration::ZERO, ended).status()
    }

    #[test]
    fn what_was_printed_counts_before_how_it_ended() {
        let seen = || Some(Found::Seen("x".into()));
        let unwanted = || Some(Found::Unwanted("p".into(), "x".into()));
        let failure = || Some(Found::Failure("x".into()));
        let panic = || Some(Found::Panic("x".into()));
        for ended in [
            Ending::PoweredOff,
            Ending::Reset("x"),
            Ending::Status(7),
            Ending::Panicked(None),
            Ending::TimedOut("x".into()),
            Ending::Stopped,
        ] {
            let of = |found| status(found, None, 0, ended.clone());
            assert_eq!((of(seen()), of(unwanted()), of(panic())), (0, 103, 101), "{ended:?}");
            let told = ended == Ending::Panicked(None);
            assert_eq!(of(failure()), if told { 101 } else { 103 }, "{ended:?}");
            assert_eq!(of(None), ended.status());
        }
        for ended in [Ending::Interrupted, Ending::Killed, Ending::Signal(15)] {
            assert_eq!(status(seen(), None, 0, ended.clone()), ended.status());
        }
    }

    #[test]
    fn what_was_not_seen_is_no_success() {
        for ended in [Ending::PoweredOff, Ending::Reset("x"), Ending::Status(0), Ending::Stopped] {
            let ended = settle(settled(None, Some("login: "), 0), Duration::ZERO, ended);
            assert_eq!(ended.status(), 104);
            assert!(ended.text().unwrap().ends_with("this was seen: \"login: \""));
        }
        assert_eq!(status(None, Some("x"), 0, Ending::Status(7)), 7);
        assert_eq!(status(None, Some("x"), 0, Ending::TimedOut("x".into())), 124);
    }

    #[test]
    fn what_was_not_looked_at_is_no_success_either() {
        assert_eq!(status(Some(Found::Seen("x".into())), None, 1, Ending::PoweredOff), 1);
        assert_eq!(status(None, None, 1, Ending::PoweredOff), 1);
        assert_eq!(status(None, None, 1, Ending::Status(7)), 7);
        assert_eq!(status(Some(Found::Panic("x".into())), None, 1, Ending::PoweredOff), 101);
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
