//! `lguest check`, and errors of a command line that are reported before anything starts.

use std::process::{Command, Output};

use tests::environment::launcher;

fn lguest(words: &[&str]) -> Output {
    Command::new(launcher()).args(words).output().unwrap()
}

#[test]
fn check_answers_in_json_too() {
    let words = lguest(&["check"]);
    let json = lguest(&["check", "--json"]);
    assert_eq!(words.status.code(), json.status.code());
    assert!(matches!(json.status.code(), Some(0 | 1)), "{json:?}");
    let answer: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(answer.as_object().is_some_and(|object| !object.is_empty()), "{answer}");
}

#[test]
fn a_missing_kernel_is_named() {
    let missing = lguest(&["512", "/nonexistent/vmlinuz"]);
    assert_eq!(missing.status.code(), Some(1));
    let words = String::from_utf8(missing.stderr).unwrap();
    assert!(words.contains("/nonexistent/vmlinuz") && words.lines().count() == 1, "{words}");
    assert!(missing.stdout.is_empty());
}

#[test]
fn a_wrong_command_line_is_status_2() {
    assert_eq!(lguest(&[]).status.code(), Some(2));
    assert_eq!(lguest(&["lots", "vmlinuz"]).status.code(), Some(2));
    assert_eq!(lguest(&["512", "vmlinuz", "--cpus", "65"]).status.code(), Some(2));
}
