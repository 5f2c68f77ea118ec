//! `lguest check`: reports what this host offers to guests, and what to do if something is missing.
//! First comes /dev/kvm ([`kvm`]), then what guests can do, which is tried out
//! ([`mod@kernel_mode`]), then the rest of the [`host`].

mod host;
mod kernel_mode;
mod kvm;
mod probe;
mod programs;
mod report;

use std::io::{self, Write};

use anyhow::{Context, Result};

pub(crate) use kernel_mode::{KernelMode, kernel_mode};
use report::Report;

/// Check everything, and print the report. Returns whether Linux guests boot.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn run(json: bool) -> Result<bool> {
    let (kvm, kvm_checks) = kvm::checks();
    let kernel_mode = kvm.map(|kvm| kernel_mode::probe(&kvm).1).unwrap_or_default();
    let report = Report::new(kvm_checks, kernel_mode, host::checks());
    let text = if json { serde_json::to_string(&report)? + "\n" } else { report.table() };
    io::stdout().write_all(text.as_bytes()).context("writing to stdout")?;
    Ok(report.boots)
}
