//! A span of time on the command line: `--grace 5s`.

use std::time::Duration;

/// The longest: a day more or less does not matter then.
const MOST: u64 = 365 * 24 * 3600 * 1000;

/// From "5" or "5s", "500ms" and "2m".
///
/// # Errors
/// For anything else, with what there is.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("", 1000)];
    let unit = units.iter().find_map(|(unit, length)| Some((text.strip_suffix(unit)?, *length)));
    let milliseconds = unit.and_then(|(digits, length): (&str, u64)| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = digits.parse().ok().filter(|_| plain)?;
        number.checked_mul(length).filter(|time| *time <= MOST)
    });
    let wanted = || "a time is a number of seconds, or like 5s, 500ms or 2m".to_string();
    milliseconds.map(Duration::from_millis).ok_or_else(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_seconds_unless_it_says_else() {
        let milliseconds = |text| parse(text).map(|time| time.as_millis());
        assert_eq!(milliseconds("5"), Ok(5000));
        assert_eq!(milliseconds("5s"), Ok(5000));
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("2m"), Ok(120_000));
        assert_eq!(milliseconds("0"), Ok(0));
        for wrong in
            ["", "s", "+5", "-5", "5h", "5 s", "1.5s", "m5", "99999999999999999999", "999999999m"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
