//! lguest: puts a Linux guest on your terminal. [`config`] reads the command line. [`launch`] runs
//! a guest; the other modules have the other commands. [`exit_status`] has the table of exit
//! statuses.

mod boot_test;
mod check;
mod client;
mod config;
mod console;
mod control;
mod detach;
mod ending;
mod exec;
mod exit_status;
mod generate;
mod guest;
mod help;
mod launch;
mod observers;
mod runtime;
mod silence;
mod snapshot;
mod unpack;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use client::consoles::{self, AttachRequest};
use client::exec::ExecRequest;
use client::snapshots;
use config::read::ParsedCommand;
use config::refusal::Refusal;
use config::restore::RestoreConfig;
use config::{Command, CommandLine, Config};
use detach::{Detached, WaitingParent};
use exit_status::ExitStatus;
use host::inherited::Inherited;
use host::{messages, terminal};
use launch::{Junit, Outcome};
use snapshot::{GuestOrigin, Snapshot};
use wire::protocol::{AttachMode, Side, Verb};

fn main() -> ExitCode {
    host::return_large_buffers();
    let line = match config::read::read(help::definition(), std::env::args_os()) {
        Ok(ParsedCommand::Run(line)) => line,
        Ok(ParsedCommand::Print(text)) => return print(&text),
        Err(refusal) => return refuse(refusal),
    };
    messages::start(line.launch.as_ref().is_some_and(|config| config.verbose));
    terminal::install_panic_hook();
    if let Err(error) = terminal::sys::end_on_sent_faults() {
        log::warn!("handling SIGSEGV and SIGBUS: {error}");
    }
    run(&line).unwrap_or_else(|error| {
        messages::say(&format!("{error:#}"));
        ExitStatus::FAILED.into()
    })
}

/// Print a text that the user asked for.
fn print(text: &str) -> ExitCode {
    match anstream::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            messages::say(&format!("writing to stdout: {error}"));
            ExitStatus::FAILED.into()
        }
    }
}

fn help(topic: Option<&str>) -> ExitCode {
    let definition = help::definition();
    let text = match topic {
        Some(topic) => help::about(topic, &definition),
        None => Ok(help::overview(&definition)),
    };
    text.map_or_else(|error| refuse(Refusal::Words(error)), |text| print(&text.ansi().to_string()))
}

fn refuse(refusal: Refusal) -> ExitCode {
    match refusal.line(&help::definition()) {
        Ok(line) => {
            messages::say(&line);
            ExitStatus::USAGE.into()
        }
        Err(shown) => {
            // Nobody reads stdout if help or the version cannot be printed.
            let _ = shown.print();
            ExitCode::SUCCESS
        }
    }
}

fn run(line: &CommandLine) -> Result<ExitCode> {
    match (&line.command, &line.launch) {
        (Some(command), _) => run_command(command),
        (None, Some(config)) => {
            if let Err(why) = boot_test::check(config) {
                messages::say(why);
                return Ok(ExitStatus::USAGE.into());
            }
            let closes = closes_inherited(config);
            let inherited = if closes { Inherited::note()? } else { Inherited::default() };
            match &config.exec.warm {
                None => start(config, inherited, GuestOrigin::Boot),
                Some(directory) => {
                    let mut config = Config::clone(config);
                    let origin = snapshot::warm::open(&mut config, directory)?;
                    start(&config, inherited, origin)
                }
            }
        }
        (None, None) => anyhow::bail!("nothing to do: see lguest --help"),
    }
}

/// Launch a guest, or let the guest of a snapshot continue. Returns the exit status.
fn start(config: &Config, inherited: Inherited, origin: GuestOrigin) -> Result<ExitCode> {
    let parent = match config.detach.then(detach::detach).transpose()? {
        Some(Detached::Parent(status)) => return Ok(ExitCode::from(status)),
        Some(Detached::Child(parent)) => Some(parent),
        None => None,
    };
    let outcome = launch_and_report(config, parent, inherited, origin)?;
    if let Some(text) = outcome.text() {
        messages::say(&text);
    }
    Ok(ExitCode::from(outcome.status()))
}

/// Whether the launch closes the descriptors that lguest inherited. Every other launch may leave
/// them open.
fn closes_inherited(config: &Config) -> bool {
    config.detach || config.username.is_some() || config.chroot.is_some()
}

/// `lguest restore`.
fn restore(changes: &RestoreConfig) -> Result<ExitCode> {
    messages::start(changes.verbose);
    // Before the files of the snapshot are open: those must not count as inherited.
    let inherited = Inherited::note()?;
    let snapshot = Snapshot::open(&changes.directory, changes.verify)?;
    let (manifest, directory) = (&snapshot.manifest, changes.directory.display());
    ensure!(
        manifest.warm.is_none(),
        "snapshot {directory}: its guest waits for a command: give it one with --warm {directory}"
    );
    log::info!(
        "snapshot {directory}: guest {}, saved {} s ago by lguest {}",
        manifest.name,
        manifest.age().as_secs(),
        manifest.lguest
    );
    let config = snapshot::restore::configuration(manifest, changes);
    let config = config.with_context(|| format!("snapshot {directory}"))?;
    let inherited = if closes_inherited(&config) { inherited } else { Inherited::default() };
    start(&config, inherited, GuestOrigin::Restore(Box::new(snapshot)))
}

/// Launch a guest, and write the JUnit report if the user asked for one.
fn launch_and_report(
    config: &Config,
    parent: Option<WaitingParent>,
    inherited: Inherited,
    origin: GuestOrigin,
) -> Result<Outcome> {
    let Some(junit) = Junit::of(config)? else {
        let launched = launch::launch(config, parent, inherited, origin);
        return launched.map(|(outcome, _)| outcome);
    };
    let result = launch::launch(config, parent, inherited, origin);
    let log = result.as_ref().map(|(_, log)| log.as_str()).unwrap_or_default();
    let written = junit.write(result.as_ref().map(|(outcome, _)| outcome), log);
    match (result, written) {
        // The launch fails if its result cannot be written.
        (Ok((outcome, _)), Err(error)) if outcome.status() == 0 => Err(error),
        (result, written) => {
            if let Err(error) = written {
                messages::say(&format!("{error:#}"));
            }
            result.map(|(outcome, _)| outcome)
        }
    }
}

fn run_command(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Check { json } => {
            return Ok(if check::run(*json)? {
                ExitCode::SUCCESS
            } else {
                ExitStatus::FAILED.into()
            });
        }
        Command::Unpack { kernel, output } => unpack::unpack(kernel, output)?,
        Command::List { json } => client::list(*json)?,
        Command::Info { name, json } => client::info(name, *json)?,
        Command::Stats { name, watch, json } => client::stats::stats(name, *watch, *json)?,
        Command::Stop { target, grace } => client::end(&target.name, Verb::Stop, *grace)?,
        Command::Kill(target) => client::end(&target.name, Verb::Kill, None)?,
        Command::Reset(target) => client::send_verb(&target.name, Verb::Reset)?,
        Command::Pause(target) => client::send_verb(&target.name, Verb::Pause)?,
        Command::Resume(target) => client::send_verb(&target.name, Verb::Resume)?,
        Command::Snapshot { show: Some(directory), json, verify, .. } => {
            snapshots::show(directory, *json, *verify)?;
        }
        Command::Snapshot { name: Some(name), directory: Some(directory), stop, .. } => {
            snapshots::snapshot(name, directory, *stop)?;
        }
        // clap refuses this.
        Command::Snapshot { .. } => anyhow::bail!("nothing to save: see lguest help snapshot"),
        Command::Restore(changes) => return restore(changes),
        Command::Console { target, read_only, force, escape, wait, persist } => {
            let mode = match (read_only, force) {
                (true, _) => AttachMode::Watch,
                (_, true) => AttachMode::Force,
                _ => AttachMode::Write,
            };
            let request = AttachRequest { target, mode, escape: *escape, persist: *persist };
            return Ok(ExitCode::from(consoles::console(&request, *wait)?));
        }
        Command::Exec { name, tty, escape, words } => {
            let request = ExecRequest { name, words, terminal: tty.then_some(*escape) };
            return Ok(ExitCode::from(client::exec::exec(&request)?));
        }
        Command::Log { target, follow: true } => {
            return Ok(ExitCode::from(consoles::follow(target)?));
        }
        Command::Log { target, .. } => consoles::log(target)?,
        Command::Peek { target, input, max, json } => {
            let side = if *input { Side::Input } else { Side::Output };
            consoles::peek(target, side, *max, *json)?;
        }
        Command::Send { target, text } => {
            return Ok(ExitCode::from(consoles::send(target, text)?));
        }
        Command::Help { topic } => return Ok(help(topic.as_deref())),
        Command::Generate { what } => return Ok(print(&generate::generate(*what)?)),
        Command::Resize { target, rows, columns } => consoles::resize(target, *rows, *columns)?,
    }
    Ok(ExitCode::SUCCESS)
}
