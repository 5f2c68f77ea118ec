//! The options that make a guest's work visible: `--trace`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Options about that.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Seeing it work")]
pub(crate) struct SeeingConfig {
    /// Record what vCPUs and queues do, and when, in a file for ui.perfetto.dev
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) trace: Option<PathBuf>,
}
