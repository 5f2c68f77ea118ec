//! lguest: puts a Linux guest on your terminal. From the command line
//! ([`config`]) to a guest ([`launch`]) or one of the other commands; and, at
//! the end, the only place that knows of exit statuses.

#[expect(unsafe_code, reason = "all FFI lives here")]
mod sys;

mod acpi;
mod boot;
mod check;
mod config;
mod console;
mod cpuid;
mod crash;
mod disk;
mod exit;
mod firmware;
mod guest;
mod input;
mod launch;
mod memory;
mod messages;
mod net;
mod output;
mod ports;
mod privilege;
mod signals;
mod stdin;
mod terminal;
mod vcpu;
mod vm;
mod writer;

#[cfg(test)]
mod testing;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use config::{Command, CommandLine};

/// The host or the launcher failed, or a check did.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Help and version come this way, too; if they cannot be printed,
            // nobody is there to be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(FAILURE));
        }
    };
    messages::start(line.launch.as_ref().is_some_and(|config| config.verbose));
    terminal::install_panic_hook();
    run(&line).unwrap_or_else(|error| {
        messages::say(&format!("{error:#}"));
        ExitCode::from(FAILURE)
    })
}

fn run(line: &CommandLine) -> Result<ExitCode> {
    match (&line.command, &line.launch) {
        (Some(Command::Check { json }), _) => {
            Ok(ExitCode::from(if check::run(*json)? { 0 } else { FAILURE }))
        }
        (Some(Command::Unpack { kernel, output }), _) => {
            boot::save::unpack(kernel, output)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, Some(config)) => {
            let ending = launch::launch(config)?;
            if let Some(text) = ending.text() {
                messages::say(&text);
            }
            Ok(ExitCode::from(ending.status()))
        }
        (None, None) => anyhow::bail!("nothing to do: see lguest --help"),
    }
}
