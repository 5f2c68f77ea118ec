//! Reports, read by another parser.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use clap::Parser;
use tempfile::TempDir;

use super::Junit;
use crate::boot_test::Verdict;
use crate::config::{CommandLine, Config};
use crate::ending::Ending;
use crate::launch::Outcome::{self, Decided, Ended};

/// Prints what Python's parser finds: the attributes of the suite, and of each element in the case,
/// with its text.
const READ: &str = "
import sys, xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot()
case, = suite
print(suite.tag, *(suite.get(key) for key in ('tests', 'failures', 'errors')))
print(case.tag, case.get('name'), float(case.get('time')) >= 0)
for part in case:
    print(part.tag, ascii(part.get('message')), part.get('type'), ascii(part.text), len(part.text or ''))
";

fn config(words: &[&str]) -> Config {
    let words = ["lguest", "512", "/boot/vmlinuz"].iter().chain(words);
    CommandLine::try_parse_from(words).unwrap().launch.unwrap()
}

fn read(path: &Path) -> Vec<String> {
    let output = Command::new("python3").args(["-c", READ]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect()
}

fn report(words: &[&str], result: Result<&Outcome, &anyhow::Error>, log: &str) -> Vec<String> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("result.xml");
    let option = format!("--junit={}", path.display());
    let words: Vec<_> = words.iter().copied().chain([option.as_str()]).collect();
    let junit = Junit::of(&config(&words)).unwrap().unwrap();
    assert!(!path.exists());
    junit.write(result, log).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "something is left");
    read(&path)
}

#[test]
fn a_success_has_no_failure_element() {
    let lines = report(&[], Ok(&Ended(Ending::PoweredOff)), "hello\n");
    assert_eq!(lines[0], "testsuite 1 0 0");
    assert_eq!(lines[1], "testcase vmlinuz True");
    assert_eq!(lines[2..], ["system-out None None 'hello\\n' 6"]);
}

#[test]
fn failures_of_the_guest_and_errors_of_others() {
    let text = "x".to_string();
    for (outcome, counts, status) in [
        (Decided(Verdict::ForbiddenSeen(text.clone())), "1 1 0", 103),
        (Decided(Verdict::ExpectationMissed(text.clone())), "1 1 0", 104),
        (Decided(Verdict::TimedOut(text.clone())), "1 1 0", 124),
        (Decided(Verdict::Panicked(text.clone())), "1 1 0", 101),
        (Ended(Ending::Status(7)), "1 1 0", 7),
        (Ended(Ending::Exited(3)), "1 1 0", 3),
        (Ended(Ending::Failed(text.clone())), "1 0 1", 1),
        (Ended(Ending::Interrupted), "1 0 1", 130),
        (Ended(Ending::Signal(15)), "1 0 1", 143),
    ] {
        let lines = report(&["--name=web"], Ok(&outcome), "");
        assert_eq!(lines[0], format!("testsuite {counts}"), "{outcome:?}");
        assert_eq!(lines[1], "testcase web True");
        assert!(lines[2].contains(&format!(" status {status} ")), "{}", lines[2]);
    }
    let lines = report(&[], Ok(&Ended(Ending::Exited(3))), "");
    assert!(lines[2].contains("the command ended with status 3"), "{}", lines[2]);
}

#[test]
fn a_launch_that_fails_has_a_result() {
    let error = anyhow::anyhow!("no such file").context("vmlinuz");
    let lines = report(&[], Err(&error), "");
    assert_eq!(lines[0], "testsuite 1 0 1");
    assert_eq!(lines[2], "error 'vmlinuz: no such file' status 1 'vmlinuz: no such file' 21");
}

#[test]
fn whatever_a_guest_prints_can_be_read() {
    let all: String = (0..=0x2fff).chain(0xd7f0..0x1_0010).filter_map(char::from_u32).collect();
    let text = format!("--fail-on \"<&'>]]>\" matched: {all}");
    let lines = report(&[], Ok(&Decided(Verdict::ForbiddenSeen(text))), &all);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[2].starts_with("failure '--fail-on \"<&\\'>]]>\" matched: "), "{}", lines[2]);
    // XML has one kind of line end; all other allowed characters are there.
    let kept = all.chars().filter(|it| !it.is_control() || ('\u{7f}'..).contains(it));
    let kept = kept.filter(|it| !['\u{fffe}', '\u{ffff}'].contains(it)).count();
    assert!(lines[3].ends_with(&format!(" {}", kept + 2)), "{kept}");
}

#[test]
fn an_old_result_is_removed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("result.xml");
    let option = format!("--junit={}", path.display());
    fs::write(&path, "old").unwrap();
    let junit = Junit::of(&config(&[&option])).unwrap().unwrap();
    assert!(!path.exists());
    junit.write(Ok(&Ended(Ending::PoweredOff)), "").unwrap();
    assert_eq!(read(&path)[0], "testsuite 1 0 0");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o400, 0o400);
}

/// An attacker can write to the directory, and wants lguest to change a file of its user.
#[test]
fn no_link_is_followed() {
    let directory = TempDir::new().unwrap();
    let [path, victim] = ["result.xml", "victim"].map(|name| directory.path().join(name));
    fs::write(&victim, "data").unwrap();
    let guess = directory.path().join(format!(".result.xml.{}", std::process::id()));
    symlink(&victim, guess).unwrap();
    for confined in [false, true] {
        let option = format!("--junit={}", path.display());
        let words = if confined { vec![option, "--username=nobody".into()] } else { vec![option] };
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let junit = Junit::of(&config(&words)).unwrap().unwrap();
        // During a launch, the name may belong to anybody.
        let _ = fs::remove_file(&path);
        symlink(&victim, &path).unwrap();
        junit.write(Ok(&Ended(Ending::PoweredOff)), "").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "data");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn an_unwritable_result_is_reported_before_the_launch() {
    for path in ["/nowhere/result.xml", "/proc/result.xml", "/", "/dev/null"] {
        let error = Junit::of(&config(&[&format!("--junit={path}")])).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with(&format!("--junit {path}: ")), "{error}");
    }
}
