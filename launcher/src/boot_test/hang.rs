//! The report on a guest that timed out: what each of its CPUs was doing, with the name of the
//! function where it is known.

use std::time::Duration;

use super::symbols::Symbols;
use crate::guest::Guest;

/// How long the vCPUs may take to stop.
const PATIENCE: Duration = Duration::from_millis(400);

/// The advice if there are no symbols.
const ADVICE: &str = "--symbols FILE names the functions: a vmlinux, a System.map, or what the \
    guest's /proc/kallsyms says to root";

/// A line for each vCPU. The vCPUs are stopped from then on.
pub(super) fn report(guest: &Guest, symbols: Option<&Symbols>) -> Vec<String> {
    let vcpus = guest.paused_at(PATIENCE);
    let started = vcpus.iter().filter_map(|(_, at)| *at).filter(|it| it.is_started());
    let addresses: Vec<u64> = started.map(|at| at.address).collect();
    let names = symbols.map(|symbols| symbols.names(&addresses));
    let mut lines = Vec::new();
    let mut known = match names {
        Some(Ok(names)) => names,
        Some(Err(error)) => {
            lines.push(format!("--symbols: {error:#}"));
            Vec::new()
        }
        None => Vec::new(),
    }
    .into_iter();
    for (name, at) in vcpus {
        let what = match at {
            None => "in a system call of the host's that hangs".to_string(),
            Some(at) if at.is_started() => at.describe(known.next().flatten().as_deref()),
            Some(at) => at.describe(None),
        };
        lines.push(format!("{name}: {what}"));
    }
    if symbols.is_none() {
        lines.push(ADVICE.to_string());
    }
    lines
}
