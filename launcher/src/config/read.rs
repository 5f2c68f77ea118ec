//! From the words that lguest was started with to a [`CommandLine`]: by way of the file
//! that `--config` names, if it does.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Command, FromArgMatches};

use super::given::{Given, key, options};
use super::refusal::Refusal;
use super::{CommandLine, toml};

/// More than any file of options has.
const LARGEST_FILE: u64 = 1 << 20;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Wish {
    /// This.
    Line(Box<CommandLine>),
    /// Print this file (`--print-config`).
    Print(String),
}

/// Read the words by this definition, and the file that they name. The first word is the
/// program's name.
///
/// # Errors
/// When there is no sense in them.
pub(crate) fn read(
    definition: Command,
    words: impl IntoIterator<Item = OsString>,
) -> Result<Wish, Refusal> {
    let words: Vec<_> = words.into_iter().collect();
    // What is not even well-formed, clap refuses in its own words.
    let Ok((given, matches)) = Given::from_words(&definition, &words) else {
        return Ok(Wish::Line(Box::new(parse(definition, &words)?)));
    };
    let named = |id| matches.get_one::<OsString>(id).map(PathBuf::from);
    let file = if matches.subcommand().is_some() { None } else { named("config") };
    let (line, given) = match &file {
        None => (parse(definition.clone(), &words)?, given),
        Some(file) => {
            let below = open(file, &definition)
                .map_err(|error| Refusal::Words(format!("{}:{error}", file.display())))?;
            let given = given.over(below, &definition);
            wanted(&given, &definition, file)?;
            (merged(&given, &definition, &words, &matches, file)?, given)
        }
    };
    match line.launch.as_ref().is_some_and(|config| config.source.print_config) {
        true => toml::write(&given, &definition).map(Wish::Print).map_err(Refusal::Words),
        false => Ok(Wish::Line(Box::new(line))),
    }
}

fn parse(mut definition: Command, words: &[OsString]) -> Result<CommandLine, clap::Error> {
    let matches = definition.try_get_matches_from_mut(words)?;
    CommandLine::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
}

/// Read all of the file, which may be a pipe: `--config <(...)`. An error is what follows
/// the file's name and a colon.
fn open(path: &Path, definition: &Command) -> Result<Given, String> {
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

/// The words that have no option's name come one after the other.
fn wanted(given: &Given, definition: &Command, file: &Path) -> Result<(), Refusal> {
    let missing = options(definition)
        .filter(|arg| arg.is_positional() && arg.is_required_set())
        .find(|arg| !given.has(key(arg)));
    let Some(arg) = missing else { return Ok(()) };
    let key = key(arg);
    let name = arg.get_value_names().into_iter().flatten().next();
    let name = name.map_or(key, |name| name.as_str());
    let file = file.display();
    Err(Refusal::Words(format!("{file}: there is no {key} = ... in it, nor {name} after lguest")))
}

fn merged(
    given: &Given,
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
    all.extend(given.words(definition));
    parse(definition.clone(), &all).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Line(error),
        _ => Refusal::Merged(error, file.to_path_buf()),
    })
}

#[cfg(test)]
mod tests;
