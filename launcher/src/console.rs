//! A console of the guest, hvc0 or one of those after it, with what is at its
//! host end: this terminal, a file, nobody. Made by [`crate::launch`] as the command
//! line says; outlives the guest's reboots, for each of which [`crate::guest`] makes
//! a device of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use devices::console::WindowSize;
use devices::status::Status;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::attach::server::Seat;
use crate::config::Config;
use crate::config::console::{Backend, ConsoleConfig};
use crate::exit::Exit;
use crate::input::Input;
use crate::output::Output;
use crate::stdin;
use crate::terminal::{self, Terminal};
use crate::writer::Writer;

/// What a console says of a window whose size nobody knows: columns and rows.
const UNKNOWN_SIZE: (u16, u16) = (80, 24);

/// One console.
#[derive(Debug)]
pub(crate) struct Console {
    /// hvcN.
    pub(crate) number: usize,
    /// What the guest prints.
    pub(crate) output: Output,
    /// What it is to read.
    pub(crate) input: Input,
    /// How large its window is.
    pub(crate) window: Arc<WindowSize>,
    pub(crate) end: HostEnd,
    /// The client that types on it.
    pub(crate) seat: Seat,
    /// Why the guest has ended, once it has for good.
    pub(crate) ending: OnceLock<String>,
    /// The device that it is for this guest, once there is one.
    device: Mutex<Weak<Status>>,
}

/// What is at the host end, opened.
#[derive(Debug)]
pub(crate) enum HostEnd {
    /// stdin and stdout, which may be a terminal.
    Stdio,
    /// Output only.
    File { path: PathBuf, file: File },
    /// Nobody.
    Null,
}

/// The consoles that the command line asks for: without a word, one on this terminal.
///
/// # Errors
/// When two are to share it.
pub(crate) fn wanted(config: &Config) -> Result<Vec<ConsoleConfig>> {
    if config.console.is_empty() {
        return Ok(vec![ConsoleConfig::default()]);
    }
    let stdio = config.console.iter().filter(|console| console.is_stdio());
    ensure!(stdio.count() <= 1, "--console stdio: given twice, but there is one stdin");
    Ok(config.console.clone())
}

/// Open all of them, hvc0 first.
pub(crate) fn open_all(configs: &[ConsoleConfig]) -> Result<Vec<Arc<Console>>> {
    let open = |(number, config)| Console::open(number, config).map(Arc::new);
    configs.iter().enumerate().map(open).collect()
}

impl Console {
    /// Open everything that has a name.
    ///
    /// # Errors
    /// When a file cannot be opened, or the host has no descriptor to spare.
    pub(crate) fn open(number: usize, config: &ConsoleConfig) -> Result<Self> {
        let end = match &config.backend {
            Backend::Stdio => HostEnd::Stdio,
            Backend::Null => HostEnd::Null,
            Backend::File { path, append } => {
                let file = open_file(path, *append);
                let file = file.with_context(|| format!("console file {}", path.display()))?;
                HostEnd::File { path: path.clone(), file }
            }
        };
        let window = Arc::new(WindowSize::default());
        window.set(UNKNOWN_SIZE.0, UNKNOWN_SIZE.1);
        Ok(Self {
            number,
            output: Output::new().context("creating an event of a console")?,
            input: Input::new().context("creating the input pipe of a console")?,
            window,
            end,
            seat: Seat::default(),
            ending: OnceLock::new(),
            device: Mutex::default(),
        })
    }

    /// Start the threads at its host end, if it has some.
    ///
    /// # Errors
    /// When the host has no descriptor or thread to spare.
    pub(crate) fn connect(
        &self,
        exit: &Arc<Exit>,
        terminal: Option<&Terminal>,
    ) -> Result<Option<Writer>> {
        match &self.end {
            HostEnd::Null => Ok(None),
            HostEnd::Stdio => {
                let (columns, rows) = terminal::size().unwrap_or(UNKNOWN_SIZE);
                self.window.set(columns, rows);
                stdin::start(&self.input, exit, terminal)?;
                Writer::to_stdout(&self.output).map(Some)
            }
            HostEnd::File { path, file } => {
                let name = format!("con{}-file", self.number);
                let file = file.try_clone().context("duplicating the file of a console")?;
                Writer::to_file(&self.output, file, name, path).map(Some)
            }
        }
    }

    /// This is its device, in the guest that comes next.
    pub(crate) fn plug(&self, device: &Arc<Status>) {
        *self.device.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(device);
    }

    /// Give its window this size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.window.set(columns, rows);
        self.resized();
    }

    /// The guest has printed its last, for this reason: whoever reads leaves when all
    /// is read.
    pub(crate) fn finish(&self, why: &str) {
        let _ = self.ending.set(why.to_string());
        self.output.finish();
    }

    /// Tell the guest that its window has another size now.
    pub(crate) fn resized(&self) {
        let device = self.device.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(device) = device {
            device.config_changed();
        }
    }

    /// How many clients sit at it, typing or looking on.
    pub(crate) fn clients(&self) -> usize {
        let own = usize::from(!matches!(self.end, HostEnd::Null));
        self.output.readers().saturating_sub(own)
    }

    /// Wait until they have left, but not after `until`.
    pub(crate) fn wait_for_clients(&self, until: Instant) {
        while self.clients() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.output.left(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            if matches!(poll(&mut fds, timeout), Ok(0)) {
                return;
            }
            self.output.rearm();
        }
    }

    /// Is it the one on this terminal?
    pub(crate) fn is_stdio(&self) -> bool {
        matches!(self.end, HostEnd::Stdio)
    }
}

/// Open it for writing. A named pipe that nobody reads is an error, where it would
/// be waited for (and signals are blocked by now); a terminal does not become ours.
fn open_file(path: &Path, append: bool) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).write(!append).truncate(!append).append(append);
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("nobody reads this pipe: start its reader first"),
        _ => error,
    })
}
