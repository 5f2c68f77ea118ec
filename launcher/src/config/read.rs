//! Reads the words that lguest was started with into a [`CommandLine`], together with the file that
//! `--config` names.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Command, FromArgMatches};

use super::arg_values::{ArgValues, key, options};
use super::refusal::Refusal;
use super::{CommandLine, Config, toml};

/// The largest configuration file, in bytes. A larger file is not one.
const LARGEST_FILE: u64 = 1 << 20;

/// What `main` has to do.
#[derive(Debug)]
pub(crate) enum ParsedCommand {
    /// Run this command line.
    Run(Box<CommandLine>),
    /// Print this file (`--print-config`).
    Print(String),
}

/// Read the words by this definition, and the file that they name. The first word is the program's
/// name.
///
/// # Errors
/// When the words or the file are not valid.
pub(crate) fn read(
    definition: Command,
    words: impl IntoIterator<Item = OsString>,
) -> Result<ParsedCommand, Refusal> {
    let words: Vec<_> = words.into_iter().collect();
    // clap refuses words that are not well-formed, with its own message.
    let Ok((args, matches)) = ArgValues::from_words(&definition, &words) else {
        return Ok(ParsedCommand::Run(Box::new(parse(definition, &words)?)));
    };
    let named = |id| matches.get_one::<OsString>(id).map(PathBuf::from);
    let file = if matches.subcommand().is_some() { None } else { named("config") };
    let (mut line, args) = match &file {
        None => (parse(definition.clone(), &words)?, args),
        Some(file) => {
            let below = open(file, &definition)
                .map_err(|error| Refusal::Words(format!("{}:{error}", file.display())))?;
            let args = args.over(below, &definition);
            check_required(&args, &definition, file)?;
            (merged(&args, &definition, &words, &matches, file)?, args)
        }
    };
    let text = toml::write(&args, &definition);
    match &mut line.launch {
        Some(config) if config.source.print_config => {
            return text.map(ParsedCommand::Print).map_err(Refusal::Words);
        }
        Some(config) => config.source.options = text.ok(),
        None => {}
    }
    Ok(ParsedCommand::Run(Box::new(line)))
}

/// The options of a snapshot that describe the guest. The others are those of its first launch:
/// logs, results and traces, which a restored guest must not overwrite.
const OF_THE_GUEST: [&str; 14] = [
    "memory",
    "kernel",
    "arguments",
    "initrd",
    "cpus",
    "cpu",
    "block",
    "tunnet",
    "console",
    "rng",
    "earlycon",
    "no-reboot",
    "agent",
    "modules",
];

/// The options of a snapshot.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn snapshot_options(definition: &Command, text: &str) -> Result<ArgValues, String> {
    let mut args = toml::read(text, definition)?;
    args.keep_only(&OF_THE_GUEST);
    Ok(args)
}

/// The options of a launch that describe its guest, as a file for `--config`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn guest_options(definition: &Command, text: &str) -> Result<String, String> {
    let mut args = toml::read(text, definition)?;
    args.keep_only(&OF_THE_GUEST);
    toml::write(&args, definition)
}

/// The configuration that these options have, without any word of a command line.
///
/// # Errors
/// When a value is not valid.
pub(crate) fn from_options(definition: Command, args: &ArgValues) -> Result<Config, String> {
    let words = [OsString::from("lguest")].into_iter().chain(args.words(&definition));
    let words: Vec<_> = words.collect();
    let text = toml::write(args, &definition);
    let line = parse(definition, &words).map_err(|error| error.kind().to_string())?;
    let mut config = line.launch.ok_or("it has no options")?;
    config.source.options = text.ok();
    Ok(config)
}

fn parse(mut definition: Command, words: &[OsString]) -> Result<CommandLine, clap::Error> {
    let matches = definition.try_get_matches_from_mut(words)?;
    CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
}

/// Read the whole file, which may be a pipe: `--config <(...)`. An error is the text after the
/// file's name and a colon.
fn open(path: &Path, definition: &Command) -> Result<ArgValues, String> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes))
        .map_err(|error| format!(" {error}"))?;
    if bytes.len() as u64 == LARGEST_FILE {
        return Err(" this is not a file of options: it is larger than 1 MiB".into());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("{line}: this is not UTF-8, as all of a TOML file is")
    })?;
    toml::read(&text, definition)
}

/// Check that the required positional words are given. Without the first one, clap would take the
/// second one for it.
fn check_required(args: &ArgValues, definition: &Command, file: &Path) -> Result<(), Refusal> {
    let missing = options(definition)
        .filter(|arg| arg.is_positional() && arg.is_required_set())
        .find(|arg| !args.has(key(arg)));
    let Some(arg) = missing else { return Ok(()) };
    let key = key(arg);
    let name = arg.get_value_names().into_iter().flatten().next();
    let name = name.map_or(key, |name| name.as_str());
    let file = file.display();
    Err(Refusal::Words(format!("{file}: there is no {key} = ... in it, nor {name} after lguest")))
}

fn merged(
    args: &ArgValues,
    definition: &Command,
    words: &[OsString],
    matches: &clap::ArgMatches,
    file: &Path,
) -> Result<CommandLine, Refusal> {
    let mut all: Vec<_> = words.iter().take(1).cloned().collect();
    if matches.get_flag("print_config") {
        all.push("--print-config".into());
    }
    let mut config = OsString::from("--config=");
    config.push(file);
    all.push(config);
    all.extend(args.words(definition));
    parse(definition.clone(), &all).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Line(error),
        _ => Refusal::Merged(error, file.to_path_buf()),
    })
}

#[cfg(test)]
mod tests;
