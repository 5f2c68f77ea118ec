//! A boot test: what a guest is to print on hvc0, what it is not to print, and how long
//! it may take. [`crate::launch`] opens what it needs, starts it before the guest, asks
//! it when time is up ([`Trial::late`]) and at each of the guest's ends
//! ([`Trial::settle`]), and has it say the last words. The options are in
//! [`crate::config::TrialConfig`]; without them there is a trial, too, that looks at nothing.
//!
//! To read: [`patterns`], [`matcher`], [`follower`], [`verdict`]; then [`hang`] with
//! [`symbols`].

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
use host::output::Role;
use host::writer::Writer;
use machine::boot;

use crate::config::{Config, TrialConfig};
use crate::console::{self, Console};
use crate::ending::Ending;
use crate::guest::Guest;
use follower::Follower;
use matcher::Matcher;
use patterns::Patterns;
use symbols::Symbols;
pub(crate) use verdict::Verdict;

/// The files that it needs, opened while they have names.
#[derive(Debug)]
pub(crate) struct Files {
    log: Option<(File, PathBuf)>,
    symbols: Option<Symbols>,
}

/// A boot test that runs.
#[derive(Debug)]
pub(crate) struct Trial {
    /// hvc0.
    console: Arc<Console>,
    follower: Option<Follower>,
    symbols: Option<Symbols>,
    launched: Instant,
    timeout: Option<Duration>,
}

/// What cannot be asked for, in a line.
///
/// # Errors
/// When nobody would be there to be told.
pub(crate) fn check(config: &Config) -> Result<(), &'static str> {
    match config.detach && !config.trial.expect.is_empty() {
        true => Err("--expect: with --detach nobody waits to be told: leave one of them out"),
        false => Ok(()),
    }
}

impl Files {
    /// # Errors
    /// When one of them cannot be opened, or has no symbols.
    pub(crate) fn open(config: &TrialConfig) -> Result<Self> {
        let symbols = config.symbols.as_deref().map(|path| {
            Symbols::open(path).with_context(|| format!("--symbols {}", path.display()))
        });
        let symbols = symbols.transpose()?;
        // Last, as it empties the file.
        let log = config.log.clone().map(|path| {
            let file = console::open_file(&path, false);
            let file = file.with_context(|| format!("--log {}", path.display()));
            file.map(|file| (file, path))
        });
        Ok(Self { log: log.transpose()?, symbols })
    }
}

impl Trial {
    /// Start what reads hvc0, the `console`: this, and who writes the log, if somebody does.
    ///
    /// # Errors
    /// When the host has no thread to spare.
    pub(crate) fn start(
        files: Files,
        config: &Config,
        console: &Arc<Console>,
        exit: &Arc<Exit<Ending>>,
        launched: Instant,
    ) -> Result<(Self, Option<Writer>)> {
        let Files { log, symbols } = files;
        let output = &console.output;
        let log = log.map(|(file, path)| {
            Writer::to_file(output, Role::Witness, file, "con0-log".into(), &path)
        });
        let follower = config.is_trial().then(|| {
            let matcher = Matcher::new(Patterns::of(&config.trial)?);
            Follower::start(output, exit, matcher)
                .context("starting the thread that follows the console")
        });
        let timeout = config.trial.timeout;
        let (console, follower) = (Arc::clone(console), follower.transpose()?);
        Ok((Self { console, follower, symbols, launched, timeout }, log.transpose()?))
    }

    /// When time is up.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.timeout.and_then(|timeout| self.launched.checked_add(timeout))
    }

    /// Whether time is up.
    pub(crate) fn is_late(&self) -> bool {
        self.until().is_some_and(|until| until <= Instant::now())
    }

    /// The verdict when time is up. The vCPUs, if there are any, are stopped from then on.
    /// `no_driver` says why no console shows the guest's messages, if that is so.
    pub(crate) fn late(
        &self,
        guest: Option<&Guest>,
        kernel: &boot::Files,
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

    /// The guest has ended like this, or its time is up (None), and its threads have ended: the
    /// verdict, if there is one. Without anything to look for, no more than that a panic whose
    /// words nobody has seen gets them. A reset after which the guest is to start `again` stays
    /// one, unless something was found.
    pub(crate) fn settle(&self, ended: Option<&Ending>, again: bool) -> Option<Verdict> {
        let Some(follower) = &self.follower else {
            let is_mute = ended == Some(&Ending::Panicked) && !self.console.is_stdio();
            let words = is_mute.then(|| log::panic_of(&self.console)).flatten();
            return words.map(Verdict::Panicked);
        };
        let settled = follower.settle();
        if again && matches!(ended, Some(Ending::Reset(_))) && settled.found.is_none() {
            return None;
        }
        let after = settled.at.saturating_duration_since(self.launched);
        verdict::settle(settled, after, ended)
    }

    /// Where hvc0 is not on this terminal, a failure is told with the last of it.
    pub(crate) fn say_last_lines(&self) {
        if self.console.is_stdio() {
            return;
        }
        let lines = log::last_lines(&self.console);
        if !lines.is_empty() {
            messages::say(&format!("the guest said last:\n  {}", lines.join("\n  ")));
        }
    }

    /// The end of what the guest has printed on hvc0, for a report.
    pub(crate) fn log(&self) -> String {
        log::end(&self.console)
    }
}
