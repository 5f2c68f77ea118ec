//! Makes the initial file system of a guest that runs one command: the init, the modules,
//! a shell, the user's files, and the order. All that has a name is read here, before
//! privilege is given up; a reboot does not happen.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, bail};
use host::terminal;
use lguest_init::order::{self, Order, Terminal};
use lguest_init::{COMMAND, COMPLETE, DIRECTORY, FILES, INIT as INIT_PATH, MODULES, Mute, ORDER};
use machine::boot::{self, Files};

use super::archive::Archive;
use super::modules::{Chosen, Modules, Wish};
use super::{INIT, needed, shell};
use crate::config::Config;

/// As messages call the archives.
const FIRST: &str = "what --exec needs";
const LAST: &str = "its files (--file)";

/// What a terminal is that does not say so.
const UNKNOWN_TERMINAL: &str = "vt220";

/// The window of one that does not tell its size.
const UNKNOWN_SIZE: (u16, u16) = (80, 24);

/// What the guest is to do, for those who have to explain why it did not.
#[derive(Debug)]
pub(crate) struct Job {
    console: usize,
    has_modules: bool,
    modules: Vec<String>,
}

/// Add two initial file systems to those of the user, if a command is to be run, for a guest
/// with so many consoles: the init and all that it needs to be heard come first, since Linux
/// unpacks nothing more when its memory is full.
///
/// # Errors
/// One line, which says what is missing or does not fit together.
pub(crate) fn prepare(config: &Config, consoles: usize, files: &mut Files) -> Result<Option<Job>> {
    let exec = &config.exec;
    let Some(command) = &exec.command else { return Ok(None) };
    let modules = choose(config, files)?;
    let order = Order {
        console: consoles.saturating_sub(1),
        terminal: exec.tty.then(terminal_here),
        modules: modules.iter().map(in_order).collect(),
        files: exec.file.iter().map(|file| file.guest.clone()).collect(),
    };
    files.prepend(FIRST, first(command, &modules, &order)?);
    files.append(LAST, last(config)?);
    let modules = modules.into_iter().map(|chosen| chosen.module.name).collect();
    Ok(Some(Job { console: order.console, has_modules: exec.modules.is_some(), modules }))
}

/// The init, the modules and the order.
fn first(command: &OsStr, modules: &[Chosen], order: &Order) -> Result<File> {
    let mut archive = Archive::in_memory()?;
    // For an init to start with: the kernel makes its streams of the one, Rust of the other.
    archive.directory("/dev")?;
    archive.device("/dev/console", 5, 1)?;
    archive.device("/dev/null", 1, 3)?;
    for directory in [DIRECTORY, MODULES, FILES] {
        archive.directory(directory)?;
    }
    archive.program(INIT_PATH, INIT)?;
    archive.file(COMMAND, command.as_bytes())?;
    archive.file(ORDER, order.to_text().as_bytes())?;
    for (index, chosen) in modules.iter().enumerate() {
        archive.file(&format!("{MODULES}/{index}"), &chosen.module.bytes)?;
    }
    archive.finish()
}

/// A shell, the user's files, and what tells the init that all is there.
fn last(config: &Config) -> Result<File> {
    let mut archive = Archive::in_memory()?;
    if config.initrd.is_empty() && !needed::has_root(&config.arguments) {
        shell::add(&mut archive)?;
    }
    for (index, file) in config.exec.file.iter().enumerate() {
        let path = format!("{FILES}/{index}");
        archive.copy(&file.host, path.as_bytes()).context("--file")?;
    }
    archive.file(COMPLETE, b"")?;
    archive.finish()
}

/// The modules that the guest needs, all of them for its kernel.
fn choose(config: &Config, files: &Files) -> Result<Vec<Chosen>> {
    let exec = &config.exec;
    if exec.modules.is_none() && exec.load.is_empty() {
        return Ok(Vec::new());
    }
    let release = boot::release(files)?;
    let (modules, mut wishes) = match &exec.modules {
        Some(directory) => (Modules::open(directory, release.as_deref())?, needed::by(config)),
        None => (Modules::default(), Vec::new()),
    };
    wishes.extend(exec.load.iter().map(|wish| needed::load(wish)));
    let chosen = modules.choose(&wishes).map_err(|error| {
        let by_load = wishes.iter().any(|wish| matches!(wish, Wish::File(_)));
        if by_load { error.context("--load") } else { error }
    })?;
    let Some(release) = release else { return Ok(chosen) };
    if let Some(wrong) = chosen.iter().find(|chosen| chosen.module.release != release) {
        let (name, of) = (&wrong.module.name, &wrong.module.release);
        bail!(
            "the module {name} is for Linux {of}, but {} is Linux {release}: give the modules of \
             this kernel",
            config.kernel.display()
        );
    }
    Ok(chosen)
}

fn in_order(chosen: &Chosen) -> order::Module {
    order::Module { name: chosen.module.name.clone(), optional: chosen.optional }
}

/// What the command's terminal is to be like: ours.
fn terminal_here() -> Terminal {
    let (columns, rows) = terminal::size().unwrap_or(UNKNOWN_SIZE);
    let kind = env::var("TERM").ok().filter(|kind| !kind.is_empty() && !kind.contains('\n'));
    Terminal { columns, rows, kind: kind.unwrap_or_else(|| UNKNOWN_TERMINAL.into()) }
}

impl Job {
    /// What the init could not say on its console.
    pub(super) fn explain(&self, mute: Mute) -> String {
        let why = match mute {
            Mute::NoDriver => "has no driver for its console (virtio_console)".to_string(),
            Mute::NoConsole => {
                format!(
                    "does not find its console hvc{} (virtio_pci, virtio_console)",
                    self.console
                )
            }
            Mute::Refused(index) => {
                let name = self.modules.get(usize::from(index)).map_or("?", String::as_str);
                format!("does not take the module {name}")
            }
        };
        let advice = match self.has_modules {
            true => "--earlycon console=ttyS0 shows what it says",
            false => "give its modules with --modules DIR (/lib/modules/RELEASE)",
        };
        format!("the guest's kernel {why}: {advice}")
    }
}
