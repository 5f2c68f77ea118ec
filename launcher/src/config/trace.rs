//! The option that records a guest's events: `--trace`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// The options about traces.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Seeing it work")]
pub(crate) struct TraceConfig {
    /// Record what vCPUs and queues do, and when, in a file for ui.perfetto.dev
    #[arg(id = "trace", long = "trace", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
}
