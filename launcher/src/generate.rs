//! `lguest generate`, for those who install it: the manual page and what shells complete,
//! made from the same definition as help. `make install` runs it.

mod completions;
mod man;

use clap_complete::Shell;

use crate::config::Artifact;
use crate::help;

/// The file.
///
/// # Errors
/// None that is known: it is made in memory.
pub(crate) fn generate(artifact: Artifact) -> anyhow::Result<String> {
    let definition = help::definition();
    let shell = match artifact {
        Artifact::Man => return man::page(&definition),
        Artifact::Bash => Shell::Bash,
        Artifact::Zsh => Shell::Zsh,
        Artifact::Fish => Shell::Fish,
    };
    completions::script(shell, &definition)
}

#[cfg(test)]
mod tests;
