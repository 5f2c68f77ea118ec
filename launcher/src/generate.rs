//! `lguest generate`, for installations: the manual page and the completions of shells, made from
//! the same definition as help. `make install` runs it.

mod completions;
mod man;

use clap_complete::Shell;

use crate::config::Artifact;
use crate::help;

/// Make the contents of a file.
///
/// # Errors
/// No known ones: the file is made in memory.
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
