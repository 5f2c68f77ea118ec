//! `--config FILE` and `--print-config`: where the other options come from, and where they go.
//! [`super::read`] acts on them, before a guest is built.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::CONFIGURATION;

/// The options about options. A file cannot contain them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub(crate) struct SourceConfig {
    /// Read options from this TOML file, too; those of the command line win or are added
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// Print this command line as such a file, and do nothing else
    #[arg(long)]
    pub(crate) print_config: bool,

    /// The options that were given, as such a file. `None` if a word is not UTF-8.
    #[arg(skip)]
    pub(crate) options: Option<String>,

    /// The directory from which relative paths in `options` count, if that is not the current one.
    #[arg(skip)]
    pub(crate) directory: Option<PathBuf>,
}
