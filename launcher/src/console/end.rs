//! What is at a console's host end, as it is opened, and then connected. Between the two,
//! [`crate::launch`] gives up privilege and starts no thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use host::exit::Exit;
use host::output::Role;
use host::standard;
use host::stdin;
use host::terminal::{self, Terminal};
use host::writer::Writer;

use super::entry::Entry;
use super::pty::Pty;
use super::socket::Socket;
use super::{Console, UNKNOWN_SIZE};
use crate::config::console::Backend;
use crate::ending::Ending;
use crate::exec::{Link, streams};

/// What is at the host end, opened.
#[derive(Debug)]
pub(crate) enum HostEnd {
    Stdio,
    /// A socket of its own, or none.
    Socket(Option<Socket>),
    Pty(Pty),
    /// Output only.
    File(File),
    Null,
    /// A command's streams, ours; and the way to its init.
    Exec(Arc<Link>),
}

/// A host end at work.
#[derive(Debug, Default)]
pub(crate) struct Connected {
    /// Who writes to a file, and is to be waited for.
    pub(crate) writer: Option<Writer>,
    /// A name that it has in the file system for as long as this exists.
    pub(crate) entry: Option<Entry>,
}

impl HostEnd {
    /// Open everything that has a name.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(super) fn open(backend: &Backend) -> Result<Self> {
        match backend {
            Backend::Stdio => Ok(Self::Stdio),
            Backend::Null => Ok(Self::Null),
            Backend::Exec { .. } => Ok(Self::Exec(Arc::default())),
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

    /// The device that it has made.
    pub(super) fn device(&self) -> Option<&Path> {
        if let Self::Pty(pty) = self { Some(pty.path()) } else { None }
    }

    /// The way to a command's init.
    pub(crate) fn link(&self) -> Option<&Arc<Link>> {
        if let Self::Exec(link) = self { Some(link) } else { None }
    }

    /// Start its threads, if it has some.
    ///
    /// # Errors
    /// When the host has no descriptor or thread to spare.
    pub(crate) fn connect(
        self,
        console: &Arc<Console>,
        exit: &Arc<Exit<Ending>>,
        terminal: Option<&Terminal>,
    ) -> Result<Connected> {
        match self {
            Self::Null | Self::Socket(None) => Ok(Connected::default()),
            Self::Stdio => {
                let (columns, rows) = terminal::size().unwrap_or(UNKNOWN_SIZE);
                console.window.set(columns, rows);
                stdin::start(&console.input, exit, terminal)?;
                let writer = Some(Writer::to_stdout(&console.output, terminal)?);
                Ok(Connected { writer, ..Connected::default() })
            }
            Self::Exec(link) => {
                let writer =
                    Some(streams::connect(&console.output, &console.input, &link, exit, terminal)?);
                Ok(Connected { writer, ..Connected::default() })
            }
            Self::File(file) => {
                let name = format!("con{}-file", console.number);
                let what = console.path().unwrap_or_default();
                let writer =
                    Some(Writer::to_file(&console.output, Role::Writer, file, name, &what)?);
                Ok(Connected { writer, ..Connected::default() })
            }
            Self::Socket(Some(socket)) => {
                Ok(Connected { entry: Some(socket.serve(console)?), ..Connected::default() })
            }
            Self::Pty(pty) => Ok(Connected { entry: pty.serve(console)?, ..Connected::default() }),
        }
    }
}

/// Open it for writing. A named pipe that nobody reads is an error, where it would
/// be waited for (and signals are blocked by now); a terminal does not become ours.
/// A name of our own stdout is that, as it is.
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
