//! `lguest generate`, for those who install it: the manual page and what shells complete,
//! made from the same definition as help. `make install` runs it.

mod completions;
mod man;

use clap::ValueEnum;
use clap_complete::Shell;

use crate::config;

/// What there is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum What {
    /// lguest.1, for man
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// The file.
///
/// # Errors
/// None that is known: it is made in memory.
pub(crate) fn generate(what: What) -> anyhow::Result<String> {
    let definition = config::definition();
    let shell = match what {
        What::Man => return man::page(&definition),
        What::Bash => Shell::Bash,
        What::Zsh => Shell::Zsh,
        What::Fish => Shell::Fish,
    };
    completions::script(shell, &definition)
}

#[cfg(test)]
mod tests;
