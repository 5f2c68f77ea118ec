//! Makes the initial file systems of a guest that runs commands: the init, the modules, a shell, and
//! its instructions; and the order for the launch's own command, with the user's files. Everything
//! that has a name is read here, before privileges are dropped; such a guest is never built a second
//! time.

use std::env;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use host::terminal;
use lguest_init::order::{self, CommandOrder, SetUpOrder, Terminal};
use lguest_init::{COMPLETE, DIRECTORY, FILES, INIT as INIT_PATH, MODULES, Mute, SET_UP};
use machine::boot::{self, BootFiles};

use super::archive::Archive;
use super::modules::{ChosenModule, ModuleDirectory, ModuleRequest};
use super::{INIT, needed, shell};
use crate::config::Config;

/// The names of the archives in messages.
const FIRST: &str = "what --exec or --agent needs";
const LAST: &str = "its files (--file)";

/// The kind of a terminal if TERM is not set.
const UNKNOWN_TERMINAL: &str = "vt220";

/// The columns and rows of a terminal whose size is not known.
const UNKNOWN_SIZE: (u16, u16) = (80, 24);

/// How a guest comes to its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecPath {
    /// The guest boots, with all that the command needs in its initial file system.
    Boot,
    /// The guest boots, and is saved before it gets anything of the command.
    BootAndSave,
    /// The guest continues from such a snapshot.
    Restore,
}

/// What the guest has to do.
#[derive(Debug)]
pub(crate) struct ExecJob {
    /// The launch's own command.
    pub(super) order: CommandOrder,
    /// What the command needs and the guest does not have.
    pub(super) archive: Option<File>,
    /// The host's files that are in the initial file system, apart from those that the user named:
    /// modules, and the shell.
    pub(crate) sources: Vec<PathBuf>,
    console: usize,
    has_modules: bool,
    modules: Vec<String>,
}

/// Add two initial file systems to those of the user, if there is a command, for a guest with this
/// number of consoles, or if the guest has an agent. The init and all that it needs to report an error come first, since Linux
/// unpacks nothing more when its memory is full. A guest that continues from a snapshot has had them.
///
/// # Errors
/// One line, which says what is missing or does not go together.
pub(crate) fn prepare(
    config: &Config,
    consoles: usize,
    files: &mut BootFiles,
    path: ExecPath,
) -> Result<Option<ExecJob>> {
    let exec = &config.exec;
    let console = consoles.saturating_sub(1);
    let Some(command) = &exec.command else {
        if exec.agent {
            // A guest that continues from a snapshot may boot again.
            let modules = choose_all(config, files, true)?;
            files.prepend(FIRST, first(&modules, console, true)?);
            files.append(LAST, last(config, ExecPath::Boot, &mut Vec::new())?);
        }
        return Ok(None);
    };
    let GuestModules { set_up, later } = choose(config, files, path)?;
    let order = CommandOrder {
        command: command.as_bytes().to_vec(),
        terminal: exec.tty.then(terminal_here),
        modules: in_order(&later),
        files: exec.file.iter().map(|file| file.guest.clone()).collect(),
        is_last: true,
    };
    let mut sources: Vec<_> = set_up.iter().map(|chosen| chosen.path.clone()).collect();
    let archive = match path {
        ExecPath::Boot => None,
        _ => later_archive(config, &later)?,
    };
    if path != ExecPath::Restore {
        files.prepend(FIRST, first(&set_up, console, false)?);
        files.append(LAST, last(config, path, &mut sources)?);
    }
    let modules = set_up.into_iter().map(|chosen| chosen.module.name).collect();
    let has_modules = exec.modules.is_some();
    Ok(Some(ExecJob { order, archive, sources, console, has_modules, modules }))
}

/// The archive with the init, the modules and the instructions.
fn first(modules: &[ChosenModule], console: usize, is_agent: bool) -> Result<File> {
    let mut archive = Archive::in_memory()?;
    // An init needs these two: the kernel opens its streams on the console, Rust's runtime opens
    // /dev/null.
    archive.directory("/dev")?;
    archive.device("/dev/console", 5, 1)?;
    archive.device("/dev/null", 1, 3)?;
    archive.directory(DIRECTORY)?;
    archive.program(INIT_PATH, INIT)?;
    let order = SetUpOrder { console, modules: in_order(modules), is_agent };
    archive.file(SET_UP, order.to_text().as_bytes())?;
    add_modules(&mut archive, modules)?;
    archive.finish()
}

/// The archive with a shell, the user's files, and the mark that all is there.
fn last(config: &Config, path: ExecPath, sources: &mut Vec<PathBuf>) -> Result<File> {
    let mut archive = Archive::in_memory()?;
    if config.initrd.is_empty() && !needed::has_root(&config.arguments) {
        sources.push(shell::add(&mut archive)?);
    }
    if path == ExecPath::Boot {
        add_files(&mut archive, config)?;
    }
    archive.file(COMPLETE, b"")?;
    archive.finish()
}

/// The archive that comes with the command, if it needs one.
fn later_archive(config: &Config, modules: &[ChosenModule]) -> Result<Option<File>> {
    if config.exec.file.is_empty() && modules.is_empty() {
        return Ok(None);
    }
    let mut archive = Archive::in_memory()?;
    add_modules(&mut archive, modules)?;
    add_files(&mut archive, config)?;
    archive.finish().map(Some)
}

fn add_modules(archive: &mut Archive<impl Write>, modules: &[ChosenModule]) -> Result<()> {
    archive.directory(MODULES)?;
    for (index, chosen) in modules.iter().enumerate() {
        archive.file(&format!("{MODULES}/{index}"), &chosen.module.bytes)?;
    }
    Ok(())
}

fn add_files(archive: &mut Archive<impl Write>, config: &Config) -> Result<()> {
    archive.directory(FILES)?;
    for (index, file) in config.exec.file.iter().enumerate() {
        let path = format!("{FILES}/{index}");
        archive.copy(&file.host, path.as_bytes()).context("--file")?;
    }
    Ok(())
}

/// The modules of a guest.
#[derive(Debug, Default)]
struct GuestModules {
    /// Modules that are loaded before any command.
    set_up: Vec<ChosenModule>,
    /// Modules that are loaded for the launch's own command.
    later: Vec<ChosenModule>,
}

/// The modules that the guest needs. Those of `--load` belong to the command, if the guest gets it
/// later.
fn choose(config: &Config, files: &BootFiles, path: ExecPath) -> Result<GuestModules> {
    let exec = &config.exec;
    if path == ExecPath::Boot || exec.load.is_empty() {
        // A guest that continues from a snapshot has them.
        let is_needed = path != ExecPath::Restore;
        let set_up = if is_needed { choose_all(config, files, true)? } else { Vec::new() };
        return Ok(GuestModules { set_up, later: Vec::new() });
    }
    let set_up = choose_all(config, files, false)?;
    let mut later = choose_all(config, files, true)?;
    let is_loaded = |name: &str| set_up.iter().any(|loaded| loaded.module.name == name);
    for request in &exec.load {
        if let ModuleRequest::File(file) = needed::parse_load(request) {
            let brought = later.iter().find(|chosen| chosen.path == file);
            let again = brought.filter(|chosen| is_loaded(&chosen.module.name));
            ensure!(
                again.is_none(),
                "--load {}: lguest loads a module of this name before it saves the guest: leave \
                 --warm out",
                file.display()
            );
        }
    }
    later.retain(|chosen| !is_loaded(&chosen.module.name));
    Ok(GuestModules { set_up, later })
}

/// The modules that the guest needs, all of them for its kernel: those of its devices, and those of
/// `--load` if `with_load` is true.
fn choose_all(config: &Config, files: &BootFiles, with_load: bool) -> Result<Vec<ChosenModule>> {
    let exec = &config.exec;
    let load = if with_load { exec.load.as_slice() } else { &[] };
    if exec.modules.is_none() && load.is_empty() {
        return Ok(Vec::new());
    }
    let release = boot::release(files)?;
    let (modules, mut requests) = match &exec.modules {
        Some(directory) => {
            (ModuleDirectory::open(directory, release.as_deref())?, needed::requests(config))
        }
        None => (ModuleDirectory::default(), Vec::new()),
    };
    requests.extend(load.iter().map(|request| needed::parse_load(request)));
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

fn in_order(modules: &[ChosenModule]) -> Vec<order::Module> {
    let module = |chosen: &ChosenModule| order::Module {
        name: chosen.module.name.clone(),
        optional: chosen.optional,
    };
    modules.iter().map(module).collect()
}

/// The properties of the command's terminal, which are those of the launcher's.
fn terminal_here() -> Terminal {
    let (columns, rows) = terminal::size().unwrap_or(UNKNOWN_SIZE);
    Terminal { columns, rows, kind: terminal_type() }
}

/// The type of this terminal, for programs in the guest.
pub(crate) fn terminal_type() -> String {
    let kind = env::var("TERM").ok().filter(|kind| !kind.is_empty() && !kind.contains('\n'));
    kind.unwrap_or_else(|| UNKNOWN_TERMINAL.into())
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
