//! A duration on the command line: `--grace 5s`.

use std::time::Duration;

/// The longest duration, in milliseconds.
const MOST: u64 = 365 * DAY;

const DAY: u64 = 24 * 3_600_000;

/// The units, in the order in which a time may name them, and their milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", DAY), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Parse "5" or "5s", "500ms", "2m", "1h30m", "1d".
///
/// # Errors
/// The forms that are accepted, for any other text.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let milliseconds = match is_number {
        true => text.parse().ok().and_then(|seconds: u64| seconds.checked_mul(1000)),
        false => sum(text),
    };
    let wanted = || "a time is a number of seconds, or like 500ms, 5s, 2m, 1h30m or 1d".to_string();
    milliseconds.filter(|time| *time <= MOST).map(Duration::from_millis).ok_or_else(wanted)
}

/// The milliseconds of a number with a unit, or of several with ever smaller units.
fn sum(text: &str) -> Option<u64> {
    let (mut rest, mut units, mut total) = (text, UNITS.iter(), 0_u64);
    loop {
        let digits = rest.find(|it: char| !it.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let end = after.find(|it: char| it.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let (_, length) = units.find(|(name, _)| *name == unit)?;
        total = number.parse::<u64>().ok()?.checked_mul(*length)?.checked_add(total)?;
        if after.is_empty() {
            return Some(total);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_seconds_unless_it_has_a_unit() {
        let milliseconds = |text| parse(text).map(|time| time.as_millis());
        for (text, expected) in [
            ("5", 5000),
            ("5s", 5000),
            ("500ms", 500),
            ("2m", 120_000),
            ("0", 0),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            ("1d12h", 129_600_000),
            ("1m0s500ms", 60_500),
            ("90m", 5_400_000),
            ("365d", 31_536_000_000),
        ] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for wrong in [
            "",
            "s",
            "+5",
            "-5",
            "5 s",
            "1.5s",
            "m5",
            "1h30",
            "30m1h",
            "1h1h",
            "1w",
            "5S",
            "h",
            "1hm",
            "366d",
            "365d1ms",
            "99999999999999999999",
            "99999999999999999999h",
            "999999999m",
            "18446744073709551615d",
            "1\u{e9}",
            "\u{e9}",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
