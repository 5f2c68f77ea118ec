//! `--exec`: runs one command in the guest, with the launcher's streams, and ends with its status;
//! and `--agent`, which only prepares a guest for `lguest exec`.
//! The guest gets another initial file system, with our init, its instructions ([`lguest_init`])
//! and what it needs ([`prepare()`]); and another console, the last one, over which launcher and
//! init talk in frames: [`streams`] is the side that receives, [`link`] the one that sends. The
//! command comes over it ([`start`]), and so do those of `lguest exec`. This module also judges the
//! guest's end.

mod archive;
mod link;
mod module;
mod modules;
mod needed;
mod prepare;
mod shell;
mod start;
mod stdin;
pub(crate) mod streams;
mod tree;

use anyhow::{Result, ensure};
use lguest_init::Mute;
use machine::boot::cmdline;

use crate::config::Config;
use crate::config::console::{Backend, ConsoleConfig};
use crate::ending::Ending;
pub(crate) use link::{InitLink, LinkedCommand};
pub(crate) use prepare::{ExecJob, ExecPath, prepare, terminal_type};
pub(crate) use start::tell_restored;

/// The init, a static program (`guest-images/init`, built by `launcher/build/init.rs`).
const INIT: &[u8] = include_bytes!(env!("LGUEST_INIT"));

/// The number of hvc devices in Linux, unless it was built with more (MAX_NR_HVC_CONSOLES).
const MOST_CONSOLES: usize = 8;

/// Add the console that leads to lguest's init to the consoles that the user wants, if the guest runs
/// commands.
///
/// # Errors
/// When the user's options do not go together with commands.
pub(crate) fn add_console(config: &Config, wanted: &mut Vec<ConsoleConfig>) -> Result<()> {
    let (option, backend) = match (&config.exec.command, config.exec.agent) {
        (Some(_), _) => ("--exec", Backend::Exec { tty: config.exec.tty }),
        (None, true) => ("--agent", Backend::Agent),
        (None, false) => return Ok(()),
    };
    let is_exec = backend != Backend::Agent;
    if is_exec && config.console.is_empty() {
        // The kernel's messages are for `lguest console` and `lguest log`.
        let backend = Backend::Socket { path: None };
        *wanted = vec![ConsoleConfig { backend, ..ConsoleConfig::default() }];
    }
    ensure!(
        !is_exec || !wanted.iter().any(ConsoleConfig::is_stdio),
        "--console stdio: stdin and stdout are the command's (--exec): for what the kernel prints \
         take sock, which is there without a word, or file=PATH"
    );
    ensure!(
        cmdline::value_of("rdinit", &config.arguments).is_none(),
        "rdinit=: {option} brings an init of its own: leave one of them out"
    );
    wanted.push(ConsoleConfig { backend, ..ConsoleConfig::default() });
    ensure!(
        wanted.len() <= MOST_CONSOLES,
        "{} consoles and the one of {option}: Linux has {MOST_CONSOLES}",
        wanted.len().saturating_sub(1)
    );
    let ours = format!("console=hvc{}", wanted.len().saturating_sub(1));
    ensure!(
        cmdline::kernel_words(&config.arguments).all(|word| word.split(',').next() != Some(&ours)),
        "{ours}: the kernel cannot print on the console of commands ({option}): take \
         console=hvc0, or leave it out"
    );
    Ok(())
}

/// The words for the kernel command line.
pub(crate) fn kernel_words(config: &Config) -> Vec<String> {
    let init = format!("rdinit={}", lguest_init::INIT);
    match (&config.exec.command, config.exec.agent) {
        (Some(_), _) => vec![init, "panic=-1".into()],
        (None, true) => vec![init],
        (None, false) => Vec::new(),
    }
}

/// What the guest's end means for a command: if the command has no status, the result is never 0.
/// `began` says whether the init was ready.
pub(crate) fn judge(job: Option<&ExecJob>, began: bool, ending: Ending) -> Ending {
    let Some(job) = job else { return ending };
    let too_early = |what: &str| Ending::Failed(format!("{what} before the command had ended"));
    match ending {
        Ending::PoweredOff => too_early("the guest switched itself off"),
        Ending::Stopped => too_early("stopped by `lguest stop`"),
        Ending::Reset(how) => {
            // No console shows what the kernel has printed until then.
            let more = if began { "" } else { " (--earlycon has what its kernel said)" };
            too_early(&format!("the guest was reset by {how}{more}"))
        }
        Ending::Status(byte) if !began => match Mute::from_byte(byte) {
            Some(mute) => Ending::Failed(job.explain(mute)),
            None => Ending::Status(byte),
        },
        Ending::Status(0) => too_early("the guest ended with status 0"),
        ending => ending,
    }
}
