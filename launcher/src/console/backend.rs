//! The host end of a console: first opened, then connected. Between the two, [`crate::launch`]
//! drops privileges and starts no thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use host::exit::Exit;
use host::input::InputPipe;
use host::output::ReaderRole;
use host::standard;
use host::stdin;
use host::terminal::{self, Terminal};
use host::writer::OutputWriter;

use super::owned_path::OwnedPath;
use super::pty::Pty;
use super::socket::Socket;
use super::{GuestConsole, UNKNOWN_SIZE};
use crate::config::console::Backend;
use crate::ending::Ending;
use crate::exec::{InitLink, streams};

/// An opened host end.
#[derive(Debug)]
pub(crate) enum OpenBackend {
    Stdio,
    /// The console's own socket, if it has one.
    Socket(Option<Socket>),
    Pty(Pty),
    /// A file for the output.
    File(File),
    Null,
    /// The launcher's streams, and the connection to the init that runs the command.
    Exec(Arc<InitLink>),
    /// The connection to the agent.
    Agent(Arc<InitLink>),
}

/// A host end whose threads run.
#[derive(Debug, Default)]
pub(crate) struct Connected {
    /// The writer of a file, which the launch waits for at the end.
    pub(crate) writer: Option<OutputWriter>,
    /// A name in the file system, which exists as long as this value.
    pub(crate) owned_path: Option<OwnedPath>,
}

impl OpenBackend {
    /// Open everything that has a name, for a console with this input.
    ///
    /// # Errors
    /// When the host end cannot be opened.
    pub(super) fn open(backend: &Backend, input: &Arc<InputPipe>) -> Result<Self> {
        match backend {
            Backend::Stdio => Ok(Self::Stdio),
            Backend::Null => Ok(Self::Null),
            Backend::Exec { .. } => Ok(Self::Exec(Arc::new(InitLink::new(input)))),
            Backend::Agent => Ok(Self::Agent(Arc::new(InitLink::new(input)))),
            Backend::Socket { path: None } => Ok(Self::Socket(None)),
            Backend::Socket { path: Some(path) } => {
                let socket = Socket::bind(path);
                let socket =
                    socket.with_context(|| format!("console socket {}", path.display()))?;
                Ok(Self::Socket(Some(socket)))
            }
            Backend::Pty { link } => {
                Pty::open(link.as_deref()).map(Self::Pty).context("console pty")
            }
            Backend::File { path, append } => {
                let file = open_file(path, *append);
                file.map(Self::File).with_context(|| format!("console file {}", path.display()))
            }
        }
    }

    /// The device that the host end has created, if it has.
    pub(super) fn device(&self) -> Option<&Path> {
        if let Self::Pty(pty) = self { Some(pty.path()) } else { None }
    }

    /// The connection to a command's init.
    pub(crate) fn init_link(&self) -> Option<&Arc<InitLink>> {
        if let Self::Exec(link) | Self::Agent(link) = self { Some(link) } else { None }
    }

    /// Start the threads of the host end, if it has any.
    ///
    /// # Errors
    /// When the host has no descriptor or thread left.
    pub(crate) fn connect(
        self,
        console: &Arc<GuestConsole>,
        exit: &Arc<Exit<Ending>>,
        terminal: Option<&Terminal>,
    ) -> Result<Connected> {
        match self {
            Self::Null | Self::Socket(None) => Ok(Connected::default()),
            Self::Stdio => {
                let (columns, rows) = terminal::size().unwrap_or(UNKNOWN_SIZE);
                console.window.set(columns, rows);
                stdin::start(&console.input, exit, terminal)?;
                let writer = Some(OutputWriter::to_stdout(&console.output, terminal)?);
                Ok(Connected { writer, ..Connected::default() })
            }
            Self::Exec(link) => {
                let writer = Some(streams::connect(&console.output, &link, exit, terminal)?);
                Ok(Connected { writer, ..Connected::default() })
            }
            Self::Agent(link) => {
                streams::receive(&console.output, &link, exit)?;
                Ok(Connected::default())
            }
            Self::File(file) => {
                let name = format!("con{}-file", console.number);
                let what = console.path().unwrap_or_default();
                let writer = Some(OutputWriter::to_file(
                    &console.output,
                    ReaderRole::Writer,
                    file,
                    name,
                    &what,
                )?);
                Ok(Connected { writer, ..Connected::default() })
            }
            Self::Socket(Some(socket)) => {
                Ok(Connected { owned_path: Some(socket.serve(console)?), ..Connected::default() })
            }
            Self::Pty(pty) => {
                Ok(Connected { owned_path: pty.serve(console)?, ..Connected::default() })
            }
        }
    }
}

/// Open a file for writing. A named pipe without a reader is an error: waiting for a reader would
/// hang while signals are blocked. A terminal does not become the controlling terminal. A name of
/// the launcher's own stdout is opened by duplication.
pub(crate) fn open_file(path: &Path, append: bool) -> io::Result<File> {
    if let Some(file) = standard::duplicate(path)? {
        return Ok(file);
    }
    let mut options = File::options();
    options.create(true).write(!append).truncate(!append).append(append);
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("nobody reads this pipe: start its reader first"),
        _ => error,
    })
}
