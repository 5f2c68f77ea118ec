//! `tests/dependencies`, by which `make check` compares the crates that we build on with deny.toml,
//! finds what must not be there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tests::documents::Page;
use tests::files::Scratch;

/// The program, with these words.
fn dependencies(words: &[&str]) -> Command {
    let mut command = Command::new(Page::root().join("tests/dependencies"));
    command.args(words);
    command
}

/// What the program finds wrong.
#[track_caller]
fn faults(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // Cargo says more, when it downloads or waits.
    let faults = said.split_inclusive('\n').filter(|line| line.starts_with("dependencies: "));
    let faults: String = faults.collect();
    assert_eq!(output.status.success(), faults.is_empty(), "{said}");
    faults
}

/// What the program finds wrong when deny.toml has `to` instead of `from`.
#[track_caller]
fn faults_with(from: &str, to: &str) -> String {
    let deny = fs::read_to_string(Page::root().join("deny.toml")).unwrap();
    assert!(deny.contains(from), "deny.toml has no {from}");
    let scratch = Scratch::new();
    let changed = scratch.file("deny.toml", deny.replace(from, to));
    faults(&mut dependencies(&["--deny", changed.to_str().unwrap()]))
}

#[test]
fn all_crates_are_as_deny_toml_says() {
    assert_eq!(faults(&mut dependencies(&[])), "");
}

#[test]
fn a_licence_that_is_not_allowed_is_found() {
    let said = faults_with("    \"BSD-3-Clause\",\n", "");
    assert!(said.contains(": its licence is not in deny.toml: BSD-3-Clause\n"), "{said}");
    assert!(said.contains(": its licence is not in deny.toml: Apache-2.0 AND BSD-3"), "{said}");
    // A choice of licences is met by one of them.
    assert!(!said.contains(" OR "), "{said}");
}

#[test]
fn a_second_version_of_a_crate_is_found() {
    let said = faults_with("\"syn@2\"", "\"syn@1\"");
    assert!(said.contains("Cargo.toml: syn: several versions: 2."), "{said}");
}

#[test]
fn a_key_of_deny_toml_that_is_not_checked_is_found() {
    let said = faults_with("[bans]", "[bans]\nwildcards = \"deny\"");
    assert!(said.contains("[bans] wildcards"), "{said}");
}

#[test]
fn a_crate_that_needs_a_newer_rust_is_found() {
    let said = faults(&mut dependencies(&["--rust", "1.70"]));
    assert!(said.contains(": it needs Rust 1."), "{said}");
    assert!(said.contains("lguest: its rust-version is"), "{said}");
}

#[test]
fn a_crate_from_elsewhere_is_found() {
    let scratch = Scratch::new();
    let script = "#!/bin/sh\n\
                  \"$REAL_CARGO\" \"$@\" | sed 's|\"source\":\"registry[^\"]*\"|\"source\":\"git+file:///a\"|g'\n";
    let cargo = scratch.file("cargo", script);
    fs::set_permissions(&cargo, Permissions::from_mode(0o755)).unwrap();
    let mut command = dependencies(&[]);
    command.env("REAL_CARGO", env!("CARGO")).env("CARGO", &cargo);
    let said = faults(&mut command);
    assert!(said.contains(": it comes from git+file:///a\n"), "{said}");
}
