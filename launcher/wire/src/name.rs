//! Names of guests: the value of `--name`, which is also the name of the guest's directory.

use std::fmt;

/// The length of the longest name in bytes.
const LONGEST: usize = 64;

/// The name of a guest: a valid file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name of a guest that its user did not name: `guest-PID`.
    pub fn made_up() -> Self {
        Self(format!("guest-{}", std::process::id()))
    }

    /// The name as text, which is a valid file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parse a name: 1 to 64 letters, digits, `.`, `_` and `-`, the first of them not `.` or `-`.
///
/// # Errors
/// A line with the rule that the text breaks.
pub fn parse(text: &str) -> Result<Name, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.is_empty() || text.len() > LONGEST {
        return Err(format!("a name has 1 to {LONGEST} bytes"));
    }
    if text.starts_with(['.', '-']) || !text.bytes().all(good) {
        return Err(
            "a name is made of letters, digits, \".\", \"_\" and \"-\", and does not begin \
             with \".\" or \"-\""
                .into(),
        );
    }
    Ok(Name(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_file_names_are_names() {
        let longest = "x".repeat(LONGEST);
        for good in ["a", "web-1.old_copy", "0", "_", longest.as_str()] {
            assert_eq!(parse(good).map(|name| name.to_string()).as_deref(), Ok(good));
        }
        let too_long = "x".repeat(LONGEST + 1);
        for bad in ["", ".", "..", ".a", "-a", "a/b", "/", "a b", "a\n", "ä", "a\0", &too_long] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_made_up_name_can_be_parsed() {
        let name = Name::made_up();
        assert_eq!(parse(name.as_str()), Ok(name));
    }
}
