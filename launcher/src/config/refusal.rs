//! Why a command line is refused: one line, like every message of lguest.

use std::path::PathBuf;

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::nearest;

/// Why the command line is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The error of clap. Help and the version come this way, too.
    Line(Error),
    /// The error of clap for a command line with options from this file.
    Merged(Error, PathBuf),
    /// The complete message, in one line.
    Words(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Line(error)
    }
}

impl Refusal {
    /// The message: what is wrong with a command line of this definition, and what to do.
    ///
    /// # Errors
    /// When nothing is wrong: the error then has the help or the version that the user asked for.
    pub(crate) fn line(self, definition: &Command) -> Result<String, Error> {
        match self {
            Self::Line(error) if !error.use_stderr() => Err(error),
            Self::Line(error) => Ok(line(&error, definition)),
            Self::Merged(error, file) => {
                let line = line(&error, definition);
                Ok(format!("{line} (some of these options come from {})", file.display()))
            }
            Self::Words(words) => Ok(words),
        }
    }
}

fn line(error: &Error, definition: &Command) -> String {
    let text = error.render().to_string();
    let paragraphs: Vec<_> = text.split("\n\n").collect();
    let tips = paragraphs.iter().filter(|part| part.trim_start().starts_with("tip: "));
    let tips = tips.flat_map(|part| part.lines()).map(|tip| tip.trim().replacen("tip: ", "", 1));
    let usage = paragraphs.iter().find_map(|part| part.strip_prefix("Usage: "));
    let usage = usage.and_then(|part| part.lines().next()).map(|usage| format!("it is {usage}"));
    let more = match error.kind() {
        ErrorKind::MissingRequiredArgument => usage,
        ErrorKind::UnknownArgument => Some("lguest --help lists the options".into()),
        ErrorKind::ValueValidation => command(error, definition),
        _ => None,
    };
    let parts: Vec<_> = [sentence(error)].into_iter().chain(tips).chain(more).collect();
    parts.join("; ")
}

/// The message of clap without its advice.
pub(super) fn sentence(error: &Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let words = lines.join(" ");
    words.strip_prefix("error: ").unwrap_or(&words).into()
}

/// A first word that is not a memory size may be a mistyped command.
fn command(error: &Error, definition: &Command) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidValue) else {
        return None;
    };
    // The length differs by two letters at most: the word is a mistyped command, not a word for the
    // kernel.
    let names = definition.get_subcommands().map(Command::get_name);
    let names = names.filter(|name| name.len().abs_diff(word.len()) <= 2);
    let near = nearest(word, names).filter(|_| argument == "<MEM>")?;
    Some(format!("or is it lguest {near}?"))
}

#[cfg(test)]
mod tests;
