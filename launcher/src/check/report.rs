//! The results of the checks, for people and for programs.

use std::fmt::Write;
use std::io;

use nix::errno::Errno;
use serde::Serialize;

/// The result of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CheckStatus {
    Good,
    /// Guests boot, and lack something.
    Limited,
    /// Linux guests do not boot.
    Missing,
}

/// One check with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) status: CheckStatus,
    pub(super) found: String,
    /// What the user can do about the result.
    pub(super) advice: Option<String>,
}

impl Check {
    pub(super) fn new(name: &str, status: CheckStatus, found: &str) -> Self {
        Self { name: name.into(), status, found: found.into(), advice: None }
    }

    pub(super) fn advice(mut self, advice: &str) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(super) fn limited(mut self, advice: &str) -> Self {
        self.status = CheckStatus::Limited;
        self.advice(advice)
    }
}

/// The reason of an error of the operating system, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().into(),
        None => error.to_string(),
    }
}

/// The results of all checks, in groups.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether Linux guests boot.
    pub(super) boots: bool,
    pub(super) kvm: Vec<Check>,
    pub(super) kernel_mode: Vec<Check>,
    pub(super) host: Vec<Check>,
}

impl Report {
    pub(super) fn new(kvm: Vec<Check>, kernel_mode: Vec<Check>, host: Vec<Check>) -> Self {
        let all = kvm.iter().chain(&kernel_mode).chain(&host);
        let boots = all.into_iter().all(|check| check.status != CheckStatus::Missing);
        Self { boots, kvm, kernel_mode, host }
    }

    /// The report as a table. An advice is printed once, under the last of several consecutive
    /// lines that have it.
    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        let groups =
            [("KVM", &self.kvm), ("Code in kernel mode", &self.kernel_mode), ("Host", &self.host)];
        for (title, checks) in groups.into_iter().filter(|(_, checks)| !checks.is_empty()) {
            // Writing to a string does not fail.
            let _ = writeln!(table, "{title}");
            for (index, check) in checks.iter().enumerate() {
                let next = checks.get(index + 1).and_then(|next| next.advice.as_ref());
                row(&mut table, check, next != check.advice.as_ref());
            }
        }
        let verdict =
            if self.boots { "Linux guests boot here." } else { "Linux guests do not boot here." };
        let _ = writeln!(table, "{verdict}");
        table
    }
}

fn row(table: &mut String, check: &Check, with_advice: bool) {
    let mark = match check.status {
        CheckStatus::Good => "ok",
        CheckStatus::Limited => "limited",
        CheckStatus::Missing => "MISSING",
    };
    let _ = writeln!(table, "  {mark:<8}{:<33}{}", check.name, check.found);
    if let Some(advice) = check.advice.as_ref().filter(|_| with_advice) {
        let _ = writeln!(table, "          -> {advice}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, status: CheckStatus) -> Check {
        Check::new(name, status, "found")
    }

    #[test]
    fn guests_do_not_boot_if_one_check_fails() {
        let good = || vec![check("a", CheckStatus::Good), check("b", CheckStatus::Limited)];
        assert!(Report::new(good(), good(), good()).boots);
        assert!(!Report::new(good(), vec![check("c", CheckStatus::Missing)], good()).boots);
    }

    #[test]
    fn the_table_is_aligned_and_prints_an_advice_once() {
        let lacks = |name| check(name, CheckStatus::Missing).advice("buy another");
        let table = Report::new(vec![lacks("one"), lacks("the other")], vec![], vec![]).table();
        let expected = "KVM\n\
            \x20 MISSING one                              found\n\
            \x20 MISSING the other                        found\n\
            \x20         -> buy another\n\
            Linux guests do not boot here.\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn the_json_report_has_every_check() {
        let report = Report::new(vec![check("a", CheckStatus::Limited)], vec![], vec![]);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["boots"], true);
        assert_eq!(json["kvm"][0]["status"], "limited");
    }
}
