//! The result as a JUnit report, one suite of one test. A launch that fails has a
//! result, too.

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
use crate::config::Config;
use crate::ending::Ending;
use crate::trial::Verdict;

/// A file that is to have the result.
#[derive(Debug)]
pub(crate) struct Junit {
    path: PathBuf,
    /// Where privilege is given up, nothing has a name any more: it was opened before.
    opened: Option<File>,
    name: String,
    since: Instant,
}

impl Junit {
    /// The file that the command line names. An existing file is removed: a file that is there
    /// afterwards is from this launch.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>> {
        let Some(path) = config.trial.junit.as_deref() else { return Ok(None) };
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
        self.put(&report(&self.name, time, &Entry::of(result), log)?)
            .with_context(|| format!("--junit {}", self.path.display()))
    }

    /// Under its name at once, so that nobody finds half of it.
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
    // Whether it can be made is seen by making it.
    unnamed(&std::path::absolute(path)?)?;
    Ok(None)
}

/// A file beside `path`, until it gets that name. It goes when it is dropped. Where others
/// can write to the directory, they cannot guess its name.
fn unnamed(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path.parent().unwrap_or(path);
    tempfile::Builder::new().prefix(".").make_in(directory, create)
}

/// A file that was not there, and no link.
fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}

/// How a launch went, as JUnit tells it.
struct Entry {
    /// None if it went well; "failure" is the guest's, "error" is another's.
    element: Option<&'static str>,
    text: String,
    status: u8,
}

impl Entry {
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
            Outcome::Decided(Verdict::Unknown(_)) => Some("error"),
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

fn report(name: &str, time: f64, entry: &Entry, log: &str) -> Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let is = |element| if entry.element == Some(element) { "1" } else { "0" };
    let (time, name, text) = (format!("{time:.3}"), allowed(name), allowed(&entry.text));
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
            if let Some(element) = entry.element {
                let first = text.lines().next().unwrap_or_default();
                let status = format!("status {}", entry.status);
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

/// Without the characters that XML 1.0 knows no way to write (section 2.2).
fn allowed(text: &str) -> String {
    let is_allowed = |character: &char| {
        matches!(character,
            '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
    };
    text.chars().filter(is_allowed).collect()
}

#[cfg(test)]
mod tests;
