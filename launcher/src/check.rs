//! `lguest check`: what this host offers to guests, and what to do where it
//! lacks something. First /dev/kvm ([`kvm`]), then what its guests can do
//! ([`mod@kernel_mode`], by trying), then the rest of the [`host`].

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

/// Look at everything and print it. The answer is whether Linux guests boot.
///
/// # Errors
/// When stdout takes nothing.
pub(crate) fn run(json: bool) -> Result<bool> {
    let (kvm, kvm_checks) = kvm::checks();
    let kernel_mode = kvm.map(|kvm| kernel_mode::probe(&kvm).1).unwrap_or_default();
    let report = Report::new(kvm_checks, kernel_mode, host::checks());
    let text = if json { serde_json::to_string(&report)? + "\n" } else { report.table() };
    io::stdout().write_all(text.as_bytes()).context("writing to stdout")?;
    Ok(report.boots)
}
