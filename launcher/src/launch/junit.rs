//! The result as a JUnit report: one suite with one test. A launch that fails has a result, too.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use tempfile::NamedTempFile;

use super::Outcome;
use crate::boot_test::Verdict;
use crate::config::Config;
use crate::ending::Ending;

/// The file for the result of a launch.
#[derive(Debug)]
pub(crate) struct Junit {
    path: PathBuf,
    /// The file, opened before privileges are dropped: afterwards it cannot be opened by name.
    opened: Option<File>,
    name: String,
    since: Instant,
}

impl Junit {
    /// The file that the command line names. An existing file is removed, so that a file that
    /// exists afterwards is from this launch.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>> {
        let Some(path) = config.boot_test.junit.as_deref() else { return Ok(None) };
        let confined = config.chroot.is_some() || config.username.is_some();
        let opened = prepare(path, confined);
        let opened = opened.with_context(|| format!("--junit {}", path.display()))?;
        let kernel = config.kernel.file_name().unwrap_or_default().to_string_lossy();
        let name = config.name.as_ref().map_or(kernel.into_owned(), ToString::to_string);
        let path = std::path::absolute(path)?;
        Ok(Some(Self { path, opened, name, since: Instant::now() }))
    }

    /// Write how the launch went, and the end of what the guest printed on hvc0.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, result: Result<&Outcome, &anyhow::Error>, log: &str) -> Result<()> {
        let time = self.since.elapsed().as_secs_f64();
        self.put(&report(&self.name, time, &TestResult::of(result), log)?)
            .with_context(|| format!("--junit {}", self.path.display()))
    }

    /// Write the whole report before the file gets its name, so that nobody finds half a report.
    fn put(&self, report: &[u8]) -> io::Result<()> {
        if let Some(file) = &self.opened {
            return file.write_all_at(report, 0);
        }
        let mut file = unnamed(&self.path)?;
        file.as_file_mut().write_all(report)?;
        file.persist(&self.path).map(drop).map_err(|error| error.error)
    }
}

fn prepare(path: &Path, confined: bool) -> Result<Option<File>> {
    if let Ok(there) = fs::symlink_metadata(path) {
        ensure!(there.is_file(), "it is there already, and no regular file");
        fs::remove_file(path)?;
    }
    if confined {
        return Ok(Some(create(path)?));
    }
    // Creating a file shows whether the result can be written.
    unnamed(&std::path::absolute(path)?)?;
    Ok(None)
}

/// A temporary file beside `path`, until it gets that name. Dropping it removes it. Where others
/// can write to the directory, they cannot guess its name.
fn unnamed(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path.parent().unwrap_or(path);
    tempfile::Builder::new().prefix(".").make_in(directory, create)
}

/// Create a file that does not exist yet. A link is not followed.
fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}

/// The result of a launch, in the terms of JUnit.
struct TestResult {
    /// None after a success; "failure" is the guest's, "error" is another's.
    element: Option<&'static str>,
    text: String,
    status: u8,
}

impl TestResult {
    fn of(result: Result<&Outcome, &anyhow::Error>) -> Self {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                return Self { element: Some("error"), text: format!("{error:#}"), status: 1 };
            }
        };
        let status = outcome.status();
        let element = match outcome {
            _ if status == 0 => None,
            Outcome::Decided(Verdict::OutputLost(_)) => Some("error"),
            Outcome::Decided(_)
            | Outcome::Ended(
                Ending::Status(_) | Ending::Exited(_) | Ending::Panicked | Ending::Crashed(_),
            ) => Some("failure"),
            Outcome::Ended(_) => Some("error"),
        };
        let text = outcome.text().unwrap_or_else(|| match outcome {
            Outcome::Ended(Ending::Exited(_)) => {
                format!("the command ended with status {status}")
            }
            _ => format!("the guest ended with status {status}"),
        });
        Self { element, text, status }
    }
}

fn report(name: &str, time: f64, result: &TestResult, log: &str) -> Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let is = |element| if result.element == Some(element) { "1" } else { "0" };
    let (time, name, text) = (format!("{time:.3}"), allowed(name), allowed(&result.text));
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suite = [
        ("name", "lguest"),
        ("tests", "1"),
        ("failures", is("failure")),
        ("errors", is("error")),
        ("skipped", "0"),
        ("time", &time),
    ];
    writer.create_element("testsuite").with_attributes(suite).write_inner_content(|writer| {
        let case = [("classname", "lguest"), ("name", &name), ("time", &time)];
        let case = writer.create_element("testcase").with_attributes(case);
        case.write_inner_content(|writer| {
            if let Some(element) = result.element {
                let first = text.lines().next().unwrap_or_default();
                let status = format!("status {}", result.status);
                let what = [("message", first), ("type", &status)];
                let element = writer.create_element(element).with_attributes(what);
                element.write_text_content(BytesText::new(&text))?;
            }
            let log = allowed(log);
            writer.create_element("system-out").write_text_content(BytesText::new(&log))?;
            Ok(())
        })?;
        Ok(())
    })?;
    let mut report = writer.into_inner();
    report.push(b'\n');
    Ok(report)
}

/// The text without the characters that XML 1.0 cannot express (section 2.2).
fn allowed(text: &str) -> String {
    let is_allowed = |character: &char| {
        matches!(character,
            '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
    };
    text.chars().filter(is_allowed).collect()
}

#[cfg(test)]
mod tests;
