//! A console of the guest, hvc0 or a later one: the guest's output and input, and its clients.
//! [`backend`] has its host end: this terminal, a file, a socket or none. A console outlives the
//! guest's reboots; each guest gets a new device for it.

mod backend;
pub(crate) mod client;
mod owned_path;
mod pty;
mod replay;
mod socket;
mod state;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use devices::console::WindowSize;
use devices::mutex::lock;
use devices::status::DeviceStatus;
use host::input::InputPipe;
use host::output::OutputRing;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::Config;
use crate::config::console::{BUFFER, Backend, ConsoleConfig};
use crate::exec::{self, InitLink};
pub(crate) use backend::{OpenBackend, open_file};
use client::InputOwner;
pub(crate) use owned_path::OwnedPath;
pub(crate) use state::{ConsoleState, SavedConsole};

/// The columns and rows of a window whose size is not known.
const UNKNOWN_SIZE: (u16, u16) = (80, 24);

/// A console of the guest.
#[derive(Debug)]
pub(crate) struct GuestConsole {
    /// The number N of hvcN.
    pub(crate) number: usize,
    /// The console as the user described it.
    pub(crate) config: ConsoleConfig,
    /// The device at the host end, if the console has created one.
    device: Option<PathBuf>,
    /// The guest's output.
    pub(crate) output: OutputRing,
    /// The guest's input.
    pub(crate) input: Arc<InputPipe>,
    /// The size of the window.
    pub(crate) window: Arc<WindowSize>,
    /// The client that may type.
    pub(crate) input_owner: InputOwner,
    /// The connection to a command's init, if the console is for a command.
    init_link: Option<Arc<InitLink>>,
    /// The reason of the guest's final end, once it has ended.
    pub(crate) ending: OnceLock<String>,
    /// Whether a driver in the guest has ever used the console.
    driven: Arc<AtomicBool>,
    /// The status of the console's device in the current guest, if there is a guest.
    status: Mutex<Weak<DeviceStatus>>,
}

/// The consoles of the command line. Without the option there is one, on this terminal. With
/// `--detach`, clients that attach take the terminal's place.
///
/// # Errors
/// When two consoles would share this terminal, or a name.
pub(crate) fn configured(config: &Config) -> Result<Vec<ConsoleConfig>> {
    let mut wanted = config.console.clone();
    if wanted.is_empty() {
        wanted.push(ConsoleConfig::default());
    }
    let stdio = wanted.iter().filter(|console| console.is_stdio());
    ensure!(stdio.count() <= 1, "--console stdio: given twice, but there is one stdin");
    let mut names: Vec<_> = wanted.iter().filter_map(|console| console.name.as_ref()).collect();
    names.sort();
    let twice = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next);
    ensure!(twice.is_none(), "--console: two are named {}", twice.map_or("", |it| it.0.as_str()));
    if config.detach {
        let stdio = wanted.iter_mut().filter(|console| console.is_stdio());
        stdio.for_each(|console| console.backend = Backend::Socket { path: None });
    }
    exec::add_console(config, &mut wanted)?;
    // A reader in its own thread needs a ring, even if no output is buffered for clients.
    if let Some(first) = wanted.first_mut().filter(|first| first.buffer == 0)
        && config.reads_console()
    {
        first.buffer = BUFFER;
    }
    Ok(wanted)
}

/// Open the host ends of all consoles, hvc0 first.
pub(crate) fn open_all(configs: &[ConsoleConfig]) -> Result<Vec<(Arc<GuestConsole>, OpenBackend)>> {
    configs.iter().enumerate().map(|(number, config)| GuestConsole::open(number, config)).collect()
}

impl GuestConsole {
    /// Open everything that has a name.
    ///
    /// # Errors
    /// When a file cannot be opened, or the host has no descriptor left.
    fn open(number: usize, config: &ConsoleConfig) -> Result<(Arc<Self>, OpenBackend)> {
        let input = Arc::new(InputPipe::new().context("creating the input pipe of a console")?);
        let backend = OpenBackend::open(&config.backend, &input)?;
        let output = OutputRing::with_capacity(config.buffer);
        let window = Arc::new(WindowSize::default());
        window.set(UNKNOWN_SIZE.0, UNKNOWN_SIZE.1);
        let console = Self {
            number,
            config: config.clone(),
            device: backend.device().map(PathBuf::from),
            output: output.context("creating an event of a console")?,
            input,
            window,
            input_owner: InputOwner::default(),
            init_link: backend.init_link().map(Arc::clone),
            ending: OnceLock::new(),
            driven: Arc::default(),
            status: Mutex::default(),
        };
        Ok((Arc::new(console), backend))
    }

    /// Set the device of the console in the next guest.
    pub(crate) fn plug(&self, device: &Arc<DeviceStatus>) {
        *lock(&self.status) = Arc::downgrade(device);
    }

    /// Set the size of the window, and notify the guest. 0 columns or rows mean that the size is
    /// not known.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        if columns > 0 && rows > 0 {
            self.window.set(columns, rows);
            self.resized();
        }
    }

    /// End the output for this reason: the guest prints nothing more. Readers leave when they have
    /// read everything.
    pub(crate) fn finish(&self, why: &str) {
        let _ = self.ending.set(why.to_string());
        if let Some(link) = &self.init_link {
            link.end();
        }
        self.output.finish();
    }

    /// Notify the guest that the size of the window has changed.
    pub(crate) fn resized(&self) {
        let device = lock(&self.status).upgrade();
        if let Some(device) = device {
            device.config_changed();
        }
    }

    /// Wait until all clients have left, but not after `until`.
    pub(crate) fn wait_for_clients(&self, until: Instant) {
        while self.output.clients() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.output.left(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if matches!(poll(&mut fds, timeout), Ok(0)) {
                return;
            }
            self.output.rearm();
        }
    }

    /// Whether a driver in the guest has used the console so far.
    pub(crate) fn has_driver(&self) -> bool {
        self.driven.load(Ordering::Relaxed)
    }

    /// The flag to set when a driver uses the console.
    pub(crate) fn driven(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.driven)
    }

    /// Whether the console is on this terminal.
    pub(crate) fn is_stdio(&self) -> bool {
        self.config.is_stdio()
    }

    /// Whether keys that are typed on this terminal go to this console: to the guest, or to a
    /// command in it.
    pub(crate) fn is_on_terminal(&self) -> bool {
        matches!(self.config.backend, Backend::Stdio | Backend::Exec { tty: true })
    }

    /// Report a new size of this terminal's window. Returns false if the caller has to report it
    /// again.
    pub(crate) fn follow_terminal(&self, columns: u16, rows: u16, first: bool) -> bool {
        if let Some(link) = &self.init_link {
            return link.resize(columns, rows);
        }
        self.window.set(columns, rows);
        // A guest that has just started has not read the size yet.
        if !first {
            self.resized();
        }
        true
    }

    /// The connection to the init that runs commands, if the console is for that.
    pub(crate) fn init_link(&self) -> Option<&Arc<InitLink>> {
        self.init_link.as_ref()
    }

    /// The path of the host end, if it has one: a file, a socket or a terminal.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match &self.config.backend {
            Backend::File { path, .. } => Some(path.clone()),
            Backend::Socket { path } => path.clone(),
            Backend::Pty { .. } => self.device.clone(),
            Backend::Stdio | Backend::Null | Backend::Exec { .. } | Backend::Agent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_cannot_print_on_the_console_of_a_command() {
        let refusal = |words: &[&str]| {
            let words = [&["--exec=true"], words].concat();
            configured(&Config::of(&words)).err().map(|error| error.to_string())
        };
        for words in [
            &["console=hvc1"][..],
            &["console=hvc0", "console=hvc1,115200"],
            &["--console=sock", "--console=sock", "console=hvc2"],
        ] {
            let said = refusal(words).unwrap();
            assert!(said.contains("cannot print on the console of commands"), "{said}");
        }
        for words in [
            &["console=hvc0"][..],
            &["console=hvc10"],
            &["--console=sock", "--console=sock", "console=hvc1"],
            &["--", "--", "console=hvc1"],
        ] {
            assert_eq!(refusal(words), None, "{words:?}");
        }
    }

    #[test]
    fn a_size_of_0_does_not_change_the_window() {
        let opened = open_all(&[ConsoleConfig::parsed("sock")]).unwrap();
        let (console, _end) = &opened[0];
        for (columns, rows) in [(0, 0), (0, 30), (100, 0)] {
            console.resize(columns, rows);
            assert_eq!(console.window.get(), UNKNOWN_SIZE);
        }
        console.resize(100, 30);
        assert_eq!(console.window.get(), (100, 30));
    }
}
