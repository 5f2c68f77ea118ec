//! Makes the initial file systems of a guest that runs one command: the init, the modules, a shell,
//! the user's files, and the instructions. Everything that has a name is read here, before
//! privileges are dropped; such a guest is never built a second time.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, bail};
use host::terminal;
use lguest_init::order::{self, Order, Terminal};
use lguest_init::{COMMAND, COMPLETE, DIRECTORY, FILES, INIT as INIT_PATH, MODULES, Mute, ORDER};
use machine::boot::{self, BootFiles};

use super::archive::Archive;
use super::modules::{ChosenModule, ModuleDirectory, ModuleRequest};
use super::{INIT, needed, shell};
use crate::config::Config;

/// The names of the archives in messages.
const FIRST: &str = "what --exec needs";
const LAST: &str = "its files (--file)";

/// The kind of a terminal if TERM is not set.
const UNKNOWN_TERMINAL: &str = "vt220";

/// The columns and rows of a terminal whose size is not known.
const UNKNOWN_SIZE: (u16, u16) = (80, 24);

/// What the guest has to do, for messages about its failures.
#[derive(Debug)]
pub(crate) struct ExecJob {
    console: usize,
    has_modules: bool,
    modules: Vec<String>,
}

/// Add two initial file systems to those of the user, if there is a command, for a guest with this
/// number of consoles. The init and all that it needs to report an error come first, since Linux
/// unpacks nothing more when its memory is full.
///
/// # Errors
/// One line, which says what is missing or does not go together.
pub(crate) fn prepare(
    config: &Config,
    consoles: usize,
    files: &mut BootFiles,
) -> Result<Option<ExecJob>> {
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
    Ok(Some(ExecJob { console: order.console, has_modules: exec.modules.is_some(), modules }))
}

/// The archive with the init, the modules and the instructions.
fn first(command: &OsStr, modules: &[ChosenModule], order: &Order) -> Result<File> {
    let mut archive = Archive::in_memory()?;
    // An init needs these two: the kernel opens its streams on the console, Rust's runtime opens
    // /dev/null.
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

/// The archive with a shell, the user's files, and the mark that all is there.
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
fn choose(config: &Config, files: &BootFiles) -> Result<Vec<ChosenModule>> {
    let exec = &config.exec;
    if exec.modules.is_none() && exec.load.is_empty() {
        return Ok(Vec::new());
    }
    let release = boot::release(files)?;
    let (modules, mut requests) = match &exec.modules {
        Some(directory) => {
            (ModuleDirectory::open(directory, release.as_deref())?, needed::requests(config))
        }
        None => (ModuleDirectory::default(), Vec::new()),
    };
    requests.extend(exec.load.iter().map(|request| needed::parse_load(request)));
    let chosen = modules.choose(&requests).map_err(|error| {
        let by_load = requests.iter().any(|request| matches!(request, ModuleRequest::File(_)));
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

fn in_order(chosen: &ChosenModule) -> order::Module {
    order::Module { name: chosen.module.name.clone(), optional: chosen.optional }
}

/// The properties of the command's terminal, which are those of the launcher's.
fn terminal_here() -> Terminal {
    let (columns, rows) = terminal::size().unwrap_or(UNKNOWN_SIZE);
    let kind = env::var("TERM").ok().filter(|kind| !kind.is_empty() && !kind.contains('\n'));
    Terminal { columns, rows, kind: kind.unwrap_or_else(|| UNKNOWN_TERMINAL.into()) }
}

impl ExecJob {
    /// The message for a failure that the init could not print on its console.
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
