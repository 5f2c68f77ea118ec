//! The summaries of the Makefile's test targets: `tests/summed`, and `tests/in-nested-host`, with
//! scripts in the place of a nested host and of tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tests::files::Scratch;

/// Returns the root of the checkout.
fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Creates a script that can be run.
fn script(scratch: &Scratch, name: &str, text: &str) -> String {
    let path = scratch.file(name, format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_string()
}

/// Returns a command that runs `tests/summed` without an outer summary.
fn summed(words: &[&str]) -> Command {
    let mut command = Command::new(checkout().join("tests/summed"));
    command.args(words).current_dir(checkout());
    command.env_remove("LGUEST_TEST_RECORDS").env_remove("LGUEST_TEST_NO_SKIP");
    command
}

/// Runs a command, and returns whether it succeeded and the lines of its summary.
#[track_caller]
fn summary(command: &mut Command) -> (bool, Vec<String>) {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), said.lines().map(str::to_string).collect())
}

/// Returns the summary of a libtest that prints this.
#[track_caller]
fn of_libtest(prints: &str, status: i32) -> (bool, Vec<String>) {
    summary(&mut summed(&["sh", "-c", &format!("cat <<'END'\n{prints}\nEND\nexit {status}")]))
}

#[track_caller]
fn assert_ends(lines: &[String], wanted: &[&str]) {
    let from = lines.len().saturating_sub(wanted.len());
    assert_eq!(lines[from..], *wanted, "{lines:#?}");
}

#[test]
fn what_libtest_prints_is_counted() {
    let (well, lines) = of_libtest(
        "test a ... ok\n\
         test b ... ignored, it takes an hour: make soak\n\
         test c ... ignored, there is no such hardware\n\
         test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured\n\
         test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured",
        0,
    );
    assert!(well, "{lines:#?}");
    let skipped = ["Skipped:", "  there is no such hardware: 1", "    c"];
    assert_ends(&lines, &[&skipped[..], &["", "3 passed, 0 failed, 1 skipped"]].concat());
    let other = lines.iter().position(|line| line == "In other targets:").unwrap();
    assert_eq!(lines[other + 1..][..2], ["  it takes an hour: make soak: 1", "    b"]);
}

#[test]
fn a_failed_test_has_its_name_in_it() {
    let (well, lines) = of_libtest(
        "test a::b ... FAILED\nfailures:\n\n---- a::b stdout ----\n    not a name\n\n\
         failures:\n    a::b\n\n\
         test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured",
        101,
    );
    assert!(!well);
    let wanted = ["Failed:", "  see above: 1", "    a::b", "", "4 passed, 1 failed, 0 skipped"];
    assert_ends(&lines, &wanted);
}

#[test]
fn a_failed_command_and_a_run_without_tests_count_as_failures() {
    let (well, lines) = summary(&mut summed(&["sh", "-c", "exit 3"]));
    assert!(!well);
    assert_ends(
        &lines,
        &["  status 3: 1", "    sh -c exit 3", "", "0 passed, 1 failed, 0 skipped"],
    );
    let (well, lines) = summary(&mut summed(&["true"]));
    assert!(!well);
    assert_ends(&lines, &["    the whole run", "", "0 passed, 1 failed, 0 skipped"]);
}

/// There is one summary, at the end of all parts.
#[test]
fn a_part_of_a_run_only_records() {
    let part = "tests/summed sh -c 'echo \"test result: ok. 2 passed; 0 failed;\"'";
    let (well, lines) = summary(&mut summed(&["--parts", "sh", "-c", &format!("{part}; {part}")]));
    assert!(well, "{lines:#?}");
    assert_ends(&lines, &["4 passed, 0 failed, 0 skipped"]);
    assert_eq!(lines.iter().filter(|line| line.contains("skipped")).count(), 1);
}

#[test]
fn a_skipped_test_is_counted_and_can_be_made_a_failure() {
    let record = "printf 'left\\tx::y\\troot is needed for this\\n' >> \"$LGUEST_TEST_RECORDS\"; \
                  echo 'test result: ok. 2 passed; 0 failed;'";
    let (well, lines) = summary(&mut summed(&["sh", "-c", record]));
    assert!(well, "{lines:#?}");
    let wanted = ["  root is needed for this: 1", "    x::y", "", "1 passed, 0 failed, 1 skipped"];
    assert_ends(&lines, &wanted);
    let demanded = &mut summed(&["sh", "-c", record]);
    let (well, lines) = summary(demanded.env("LGUEST_TEST_NO_SKIP", "1"));
    assert!(!well, "{lines:#?}");
}

/// Runs `tests/in-nested-host` with these tests. The nested host is a script that runs the command
/// here; `test` is the script of a test, with its name in $name and the number of its try in $try.
#[track_caller]
fn nested(names: &[&str], test: &str) -> (bool, Vec<String>) {
    let scratch = Scratch::new();
    let host = "while [ \"$1\" != -- ]; do
            case $1 in --env) export \"$2\"; shift ;; esac
            shift
        done
        shift
        exec \"$@\"";
    let host = script(&scratch, "host", host);
    // A libtest gets the name after `--exact`.
    let tries = format!(
        "for name; do :; done
        tries=$RESULTS/tries.$name
        echo >> \"$tries\"
        try=$(wc -l < \"$tries\")
        {test}"
    );
    let tests = script(&scratch, "tests", &tries);
    let mut command = summed(&["--parts", "tests/in-nested-host"]);
    command.args(names).env("NESTED_HOST", host).env("TESTS", tests).env("RESULTS", scratch.path());
    for name in
        ["LGUEST", "KERNEL", "VMLINUX", "INITRAMFS", "PACKED", "MODULES", "KERNELS", "DEBIAN"]
    {
        command.env(name, "");
    }
    summary(&mut command)
}

#[test]
fn tests_in_a_nested_host_are_counted_one_by_one() {
    let skips =
        "[ $name != b ] || printf 'left\\tfile:1\\tno such device\\n' >> \"$LGUEST_TEST_RECORDS\"";
    let (well, lines) = nested(&["a", "b", "c"], skips);
    assert!(well, "{lines:#?}");
    let wanted = ["Skipped:", "  no such device: 1", "    b", "", "2 passed, 0 failed, 1 skipped"];
    assert_ends(&lines, &wanted);
}

#[test]
fn the_slowest_tests_of_a_run_are_named() {
    let times = "tests/summed --record passed quick '2 s'; tests/summed --record passed slow '11 s'; \
                 tests/summed --record passed untimed";
    let (well, lines) = summary(&mut summed(&["--parts", "sh", "-c", times]));
    assert!(well, "{lines:#?}");
    let slowest = ["Slowest of 2 tests, which took 13 s:", "    11 s  slow", "     2 s  quick"];
    assert_ends(&lines, &[&slowest[..], &["", "3 passed, 0 failed, 0 skipped"]].concat());
    // A nested host prints how long each test took, which is not asserted.
    let (_, lines) = nested(&["a"], "true");
    assert!(lines.iter().any(|line| line.starts_with("Slowest of 1 tests")), "{lines:#?}");
}

#[test]
fn a_second_try_is_in_the_summary_with_its_reason() {
    let panics = "[ $name != b ] || [ $try != 1 ] || {
            echo \"thread 'main' panicked at tests/b.rs:7:9:\"
            echo 'left is not right'
            exit 101
        }";
    let (well, lines) = nested(&["a", "b", "c"], panics);
    assert!(well, "{lines:#?}");
    let tried = ["Second tries:", "  tests/b.rs:7:9: left is not right: 1", "    b"];
    assert_ends(&lines, &[&tried[..], &["", "3 passed, 0 failed, 0 skipped"]].concat());

    let (well, lines) = nested(&["a"], "[ $try != 1 ] || exit 75");
    assert!(well, "{lines:#?}");
    assert!(lines.contains(&"  the nested host froze: no heartbeat for 120 s: 1".to_string()));
}

#[test]
fn a_test_that_fails_twice_has_failed_and_the_others_go_on() {
    let (well, lines) = nested(&["a", "b", "c"], "[ $name != b ]");
    assert!(!well, "{lines:#?}");
    let failed = ["Failed:", "  status 1: 1", "    b", "", "2 passed, 1 failed, 0 skipped"];
    assert_ends(&lines, &failed);
}

/// The tries are in different parts of a run.
#[test]
fn a_test_is_retried_only_once() {
    let part = "tests/summed --record retried x froze; tests/summed --record passed x";
    let (well, lines) = summary(&mut summed(&["sh", "-c", &format!("{part}; {part}")]));
    assert!(!well);
    let why = "  needed 2 second tries in one run: 1";
    assert_ends(&lines, &["Failed:", why, "    x", "", "2 passed, 1 failed, 0 skipped"]);
}
