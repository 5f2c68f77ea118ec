//! A boot test: what a guest has to print on hvc0, what it must not print, and how long it may
//! take. [`crate::launch`] opens its files, starts it before the guest, asks for its verdict on a
//! timeout ([`BootTest::timeout_verdict`]) and at each end of the guest ([`BootTest::decide`]), and
//! has it print the last lines. [`crate::config::BootTestConfig`] has the options. Without them the
//! boot test exists, too, and examines nothing.
//!
//! To read: [`patterns`], [`matcher`], [`follower`], [`verdict`]; then [`hang`] with [`symbols`].

mod follower;
mod hang;
mod log;
mod matcher;
mod patterns;
mod plain;
mod symbols;
mod verdict;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use host::exit::Exit;
use host::messages;
use host::output::ReaderRole;
use host::writer::OutputWriter;
use machine::boot;

use crate::config::{BootTestConfig, Config};
use crate::console::{self, GuestConsole};
use crate::ending::Ending;
use crate::guest::Guest;
use follower::Follower;
use matcher::Matcher;
use patterns::Patterns;
use symbols::Symbols;
pub(crate) use verdict::Verdict;

/// The files of a boot test, opened while the launcher can open files by name.
#[derive(Debug)]
pub(crate) struct BootTestFiles {
    log: Option<(File, PathBuf)>,
    symbols: Option<Symbols>,
}

/// A boot test that runs.
#[derive(Debug)]
pub(crate) struct BootTest {
    /// The console hvc0.
    console: Arc<GuestConsole>,
    follower: Option<Follower>,
    symbols: Option<Symbols>,
    launched: Instant,
    timeout: Option<Duration>,
}

/// Refuse options that do not go together.
///
/// # Errors
/// The reason, in one line, when no process would report the result.
pub(crate) fn check(config: &Config) -> Result<(), &'static str> {
    match config.detach && !config.boot_test.expect.is_empty() {
        true => Err("--expect: with --detach nobody waits to be told: leave one of them out"),
        false => Ok(()),
    }
}

impl BootTestFiles {
    /// Open the log, and the file with symbols.
    ///
    /// # Errors
    /// When a file cannot be opened, or has no symbols.
    pub(crate) fn open(config: &BootTestConfig) -> Result<Self> {
        let symbols = config.symbols.as_deref().map(|path| {
            Symbols::open(path).with_context(|| format!("--symbols {}", path.display()))
        });
        let symbols = symbols.transpose()?;
        // Opened last, because opening empties the file.
        let log = config.log.clone().map(|path| {
            let file = console::open_file(&path, false);
            let file = file.with_context(|| format!("--log {}", path.display()));
            file.map(|file| (file, path))
        });
        Ok(Self { log: log.transpose()?, symbols })
    }
}

impl BootTest {
    /// Start the readers of hvc0, the `console`: the follower of this boot test, and the writer of
    /// the log if the user wants a log.
    ///
    /// # Errors
    /// When the host has no thread left.
    pub(crate) fn start(
        files: BootTestFiles,
        config: &Config,
        console: &Arc<GuestConsole>,
        exit: &Arc<Exit<Ending>>,
        launched: Instant,
    ) -> Result<(Self, Option<OutputWriter>)> {
        let BootTestFiles { log, symbols } = files;
        let output = &console.output;
        let log = log.map(|(file, path)| {
            OutputWriter::to_file(output, ReaderRole::Witness, file, "con0-log".into(), &path)
        });
        let follower = config.is_boot_test().then(|| {
            let matcher = Matcher::new(Patterns::of(&config.boot_test)?);
            Follower::start(output, exit, matcher)
                .context("starting the thread that follows the console")
        });
        let timeout = config.boot_test.timeout;
        let (console, follower) = (Arc::clone(console), follower.transpose()?);
        Ok((Self { console, follower, symbols, launched, timeout }, log.transpose()?))
    }

    /// When `--timeout` ends the guest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timeout.and_then(|timeout| self.launched.checked_add(timeout))
    }

    /// Whether the deadline has passed.
    pub(crate) fn has_timed_out(&self) -> bool {
        self.deadline().is_some_and(|until| until <= Instant::now())
    }

    /// The verdict on a timeout. The vCPUs of the guest, if there is one, are stopped from then on.
    /// `no_driver` explains why no console shows the guest's messages, if none does.
    pub(crate) fn timeout_verdict(
        &self,
        guest: Option<&Guest>,
        kernel: &boot::BootFiles,
        no_driver: Option<String>,
    ) -> Verdict {
        let time = verdict::time(self.timeout.unwrap_or_default());
        let awaited = self.follower.as_ref().and_then(Follower::awaited);
        let mut lines = vec![match awaited {
            Some(awaited) => format!("not seen within {time}: \"{awaited}\""),
            None => format!("not over within {time}, which was its --timeout"),
        }];
        match guest {
            Some(guest) => {
                // A kernel that has symbols needs no file beside it.
                let own = || kernel.open_kernel().and_then(Symbols::of).ok();
                let own = if self.symbols.is_none() { own() } else { None };
                lines.extend(hang::report(guest, self.symbols.as_ref().or(own.as_ref())));
            }
            None => lines.push("it was about to start again".to_string()),
        }
        lines.extend(no_driver);
        Verdict::TimedOut(lines.join("\n"))
    }

    /// The verdict on a guest that has ended like this, or has timed out (None), and whose threads
    /// have ended. None if the boot test has no verdict. Without patterns, the only verdict is on a
    /// panic whose text the user has not seen. If the guest `reboots`, its reset has no
    /// verdict unless a pattern has matched.
    pub(crate) fn decide(&self, ended: Option<&Ending>, reboots: bool) -> Option<Verdict> {
        let Some(follower) = &self.follower else {
            let is_mute = ended == Some(&Ending::Panicked) && !self.console.is_stdio();
            let words = is_mute.then(|| log::panic_line(&self.console)).flatten();
            return words.map(Verdict::Panicked);
        };
        let examined = follower.examine_rest();
        if reboots && matches!(ended, Some(Ending::Reset(_))) && examined.found.is_none() {
            return None;
        }
        let after = examined.at.saturating_duration_since(self.launched);
        verdict::decide(examined, after, ended)
    }

    /// Print the last lines of hvc0 after a failure, if hvc0 is not on this terminal.
    pub(crate) fn say_last_lines(&self) {
        if self.console.is_stdio() {
            return;
        }
        let lines = log::last_lines(&self.console);
        if !lines.is_empty() {
            messages::say(&format!("the guest said last:\n  {}", lines.join("\n  ")));
        }
    }

    /// The end of the guest's output on hvc0, for a report.
    pub(crate) fn log(&self) -> String {
        log::end(&self.console)
    }
}
