//! A console of the guest, hvc0 or one of those after it: what the guest prints and reads
//! there, and who is there. What is at its host end (this terminal, a file, a socket,
//! nobody) is for [`end`]. It outlives the guest's reboots; each guest gets a new device
//! for it.

mod end;
mod entry;
mod pty;
mod replay;
pub(crate) mod seat;
mod socket;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use devices::console::WindowSize;
use devices::mutex::lock;
use devices::status::DeviceStatus;
use host::input::Input;
use host::output::Output;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::Config;
use crate::config::console::{BUFFER, Backend, ConsoleConfig};
use crate::exec::{self, Link};
pub(crate) use end::{HostEnd, open_file};
use seat::Seat;

/// What a console says of a window whose size nobody knows: columns and rows.
const UNKNOWN_SIZE: (u16, u16) = (80, 24);

/// One console.
#[derive(Debug)]
pub(crate) struct Console {
    /// hvcN.
    pub(crate) number: usize,
    /// As the user described it.
    pub(crate) config: ConsoleConfig,
    /// The device at its host end, if one was made for it.
    device: Option<PathBuf>,
    /// What the guest prints.
    pub(crate) output: Output,
    /// What it is to read.
    pub(crate) input: Arc<Input>,
    /// How large its window is.
    pub(crate) window: Arc<WindowSize>,
    /// The client that types on it.
    pub(crate) seat: Seat,
    /// The way to a command's init, if it is for that.
    link: Option<Arc<Link>>,
    /// Why the guest has ended, once it has for good.
    pub(crate) ending: OnceLock<String>,
    /// Whether a driver in the guest has ever used it.
    driven: Arc<AtomicBool>,
    /// What it is to this guest, once there is one.
    status: Mutex<Weak<DeviceStatus>>,
}

/// The consoles that the command line asks for: without a word, one on this terminal.
/// With `--detach`, clients that attach take its place.
///
/// # Errors
/// When two are to share this terminal, or a name.
pub(crate) fn wanted(config: &Config) -> Result<Vec<ConsoleConfig>> {
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
    // A reader in its own thread needs a ring, also where no output is kept.
    if let Some(first) = wanted.first_mut().filter(|first| first.buffer == 0)
        && config.reads_console()
    {
        first.buffer = BUFFER;
    }
    Ok(wanted)
}

/// Open all of them, hvc0 first.
pub(crate) fn open_all(configs: &[ConsoleConfig]) -> Result<Vec<(Arc<Console>, HostEnd)>> {
    configs.iter().enumerate().map(|(number, config)| Console::open(number, config)).collect()
}

impl Console {
    /// Open everything that has a name.
    ///
    /// # Errors
    /// When a file cannot be opened, or the host has no descriptor to spare.
    fn open(number: usize, config: &ConsoleConfig) -> Result<(Arc<Self>, HostEnd)> {
        let end = HostEnd::open(&config.backend)?;
        let output = Output::with_capacity(config.buffer);
        let window = Arc::new(WindowSize::default());
        window.set(UNKNOWN_SIZE.0, UNKNOWN_SIZE.1);
        let console = Self {
            number,
            config: config.clone(),
            device: end.device().map(PathBuf::from),
            output: output.context("creating an event of a console")?,
            input: Arc::new(Input::new().context("creating the input pipe of a console")?),
            window,
            seat: Seat::default(),
            link: end.link().map(Arc::clone),
            ending: OnceLock::new(),
            driven: Arc::default(),
            status: Mutex::default(),
        };
        Ok((Arc::new(console), end))
    }

    /// This is its device, in the guest that comes next.
    pub(crate) fn plug(&self, device: &Arc<DeviceStatus>) {
        *lock(&self.status) = Arc::downgrade(device);
    }

    /// Give its window this size. Who says that it has no columns or rows knows no size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        if columns > 0 && rows > 0 {
            self.window.set(columns, rows);
            self.resized();
        }
    }

    /// The guest has printed its last, for this reason: readers leave when they have
    /// read everything.
    pub(crate) fn finish(&self, why: &str) {
        let _ = self.ending.set(why.to_string());
        if let Some(link) = &self.link {
            link.end();
        }
        self.output.finish();
    }

    /// Tell the guest that its window has another size now.
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
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            if matches!(poll(&mut fds, timeout), Ok(0)) {
                return;
            }
            self.output.rearm();
        }
    }

    /// Whether a driver in the guest has used it so far.
    pub(crate) fn has_driver(&self) -> bool {
        self.driven.load(Ordering::Relaxed)
    }

    /// To be set when a driver uses it.
    pub(crate) fn driven(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.driven)
    }

    /// Is it the one on this terminal?
    pub(crate) fn is_stdio(&self) -> bool {
        self.config.is_stdio()
    }

    /// Does what is typed on this terminal go there: to the guest, or to a command in it?
    pub(crate) fn is_on_terminal(&self) -> bool {
        matches!(self.config.backend, Backend::Stdio | Backend::Exec { tty: true })
    }

    /// The window of this terminal has this size now. False if it is to be told again.
    pub(crate) fn follow_terminal(&self, columns: u16, rows: u16, first: bool) -> bool {
        if let Some(link) = &self.link {
            return link.resize(&self.input, columns, rows);
        }
        self.window.set(columns, rows);
        // One that has only just been started has not asked for it yet.
        if !first {
            self.resized();
        }
        true
    }

    /// Does the command's init speak?
    pub(crate) fn is_ready(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_ready())
    }

    /// What is at its host end, if that has a name: a file, a socket, a terminal.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match &self.config.backend {
            Backend::File { path, .. } => Some(path.clone()),
            Backend::Socket { path } => path.clone(),
            Backend::Pty { .. } => self.device.clone(),
            Backend::Stdio | Backend::Null | Backend::Exec { .. } => None,
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
            wanted(&Config::of(&words)).err().map(|error| error.to_string())
        };
        for words in [
            &["console=hvc1"][..],
            &["console=hvc0", "console=hvc1,115200"],
            &["--console=sock", "--console=sock", "console=hvc2"],
        ] {
            let said = refusal(words).unwrap();
            assert!(said.contains("cannot print on the console of the command"), "{said}");
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
    fn a_window_of_nothing_is_none() {
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
