//! What was found, for people and for programs.

use std::fmt::Write;
use std::io;

use nix::errno::Errno;
use serde::Serialize;

/// How good one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Good,
    /// Guests boot, and miss something.
    Limited,
    /// Linux guests do not boot.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) found: String,
    /// What to do about it.
    pub(super) advice: Option<String>,
}

impl Check {
    pub(super) fn new(name: &str, status: Status, found: &str) -> Self {
        Self { name: name.into(), status, found: found.into(), advice: None }
    }

    pub(super) fn advice(mut self, advice: &str) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(super) fn limited(mut self, advice: &str) -> Self {
        self.status = Status::Limited;
        self.advice(advice)
    }
}

/// Why the operating system refused something, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().into(),
        None => error.to_string(),
    }
}

/// Everything, in groups.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Will Linux guests boot?
    pub(super) boots: bool,
    pub(super) kvm: Vec<Check>,
    pub(super) kernel_mode: Vec<Check>,
    pub(super) host: Vec<Check>,
}

impl Report {
    pub(super) fn new(kvm: Vec<Check>, kernel_mode: Vec<Check>, host: Vec<Check>) -> Self {
        let all = kvm.iter().chain(&kernel_mode).chain(&host);
        let boots = all.into_iter().all(|check| check.status != Status::Missing);
        Self { boots, kvm, kernel_mode, host }
    }

    /// A table. An advice stands once, under the last of the lines in a row
    /// that have it.
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
        Status::Good => "ok",
        Status::Limited => "limited",
        Status::Missing => "MISSING",
    };
    let _ = writeln!(table, "  {mark:<8}{:<33}{}", check.name, check.found);
    if let Some(advice) = check.advice.as_ref().filter(|_| with_advice) {
        let _ = writeln!(table, "          -> {advice}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, status: Status) -> Check {
        Check::new(name, status, "found")
    }

    #[test]
    fn one_missing_thing_decides() {
        let good = || vec![check("a", Status::Good), check("b", Status::Limited)];
        assert!(Report::new(good(), good(), good()).boots);
        assert!(!Report::new(good(), vec![check("c", Status::Missing)], good()).boots);
    }

    #[test]
    fn the_table_is_aligned_and_says_an_advice_once() {
        let lacks = |name| check(name, Status::Missing).advice("buy another");
        let table = Report::new(vec![lacks("one"), lacks("the other")], vec![], vec![]).table();
        let expected = "KVM\n\
            \x20 MISSING one                              found\n\
            \x20 MISSING the other                        found\n\
            \x20         -> buy another\n\
            Linux guests do not boot here.\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn programs_get_the_same() {
        let report = Report::new(vec![check("a", Status::Limited)], vec![], vec![]);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["boots"], true);
        assert_eq!(json["kvm"][0]["status"], "limited");
    }
}
