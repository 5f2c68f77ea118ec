//! The options of a boot test: what the guest must and must not print, how long it may take, and
//! which files record it. [`crate::boot_test`] runs the test.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use regex::bytes::Regex;

use super::time;

/// What a boot test looks for, and what it writes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Boot tests")]
pub(crate) struct BootTestConfig {
    /// End the guest, with status 0, when it prints a line on hvc0 that matches; several count
    /// in their order
    #[arg(long, value_name = "REGEX", value_parser = parse_pattern)]
    pub(crate) expect: Vec<Regex>,

    /// End it, with status 103, when it prints a line on hvc0 that matches
    #[arg(long, value_name = "REGEX", value_parser = parse_pattern)]
    pub(crate) fail_on: Vec<Regex>,

    /// Count warnings of the kernel as failures: hung tasks, lockups, RCU stalls, WARNINGs
    #[arg(long)]
    pub(crate) strict: bool,

    /// End it after this time (500ms, 90s, 1h30m), with status 124, and print what each CPU was
    /// doing
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub(crate) timeout: Option<Duration>,

    /// Also write what the guest prints on hvc0 to this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) log: Option<PathBuf>,

    /// Write the result to this file, as a JUnit report
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) junit: Option<PathBuf>,

    /// The kernel's symbols, for function names: vmlinux, System.map or a copy of /proc/kallsyms
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) symbols: Option<PathBuf>,
}

impl BootTestConfig {
    /// Whether these options ask for the guest's output to be examined.
    pub(crate) fn is_wanted(&self) -> bool {
        self.strict || self.junit.is_some() || !self.expect.is_empty() || !self.fail_on.is_empty()
    }
}

/// Compile a pattern.
///
/// # Errors
/// What is wrong with the pattern, in one line.
fn parse_pattern(text: &str) -> Result<Regex, String> {
    if text.is_empty() {
        return Err("it is empty, and would match whatever is printed".into());
    }
    Regex::new(text).map_err(|error| {
        // The crate marks the position on several lines, and ends with the reason.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default();
        reason.strip_prefix("error: ").unwrap_or(reason).to_string()
    })
}

#[cfg(test)]
impl BootTestConfig {
    /// A configuration with these patterns.
    pub(crate) fn looking_for(expect: &[&str], fail_on: &[&str]) -> Self {
        let parse = |patterns: &[&str]| {
            patterns.iter().map(|pattern| parse_pattern(pattern).unwrap()).collect()
        };
        Self { expect: parse(expect), fail_on: parse(fail_on), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_pattern_is_reported_in_one_line() {
        for (pattern, reason) in [
            ("", "empty"),
            ("login(", "unclosed group"),
            ("*", "repetition operator"),
            ("[z-a]", "invalid character class range"),
            (r"\d{1000}{1000}{1000}", "size limit"),
        ] {
            let error = parse_pattern(pattern).unwrap_err();
            assert!(error.contains(reason) && !error.contains('\n'), "{pattern}: {error}");
        }
    }
}
