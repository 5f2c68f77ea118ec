//! `lguest exec`: runs a command in a guest that runs already. With `--tty`, the command gets this
//! terminal, as a console does in `lguest console`. Otherwise stdin, stdout and stderr are streams
//! of their own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use devices::threads;
use host::stdin::escape::Escape;
use host::{messages, stdin, terminal};
use wire::protocol::{ControlRequest, Fields, LONGEST_COMMAND, Verb};
use wire::{ConsoleFrame, Name};

use super::attach::{AttachSession, Attached, read_line};
use super::session_end::SessionEnd;
use super::{PATIENCE, answer, find, open, unanswered};
use crate::exec::terminal_type;
use crate::exit_status::ExitStatus;

/// What the user of `lguest exec` asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExecRequest<'a> {
    pub(crate) name: &'a Name,
    pub(crate) words: &'a [OsString],
    /// The key that leaves the command, if it gets the terminal.
    pub(crate) terminal: Option<Escape>,
}

/// `lguest exec`: the exit status.
///
/// # Errors
/// When there is no such guest, or it takes no commands. The terminal is untouched then.
pub(crate) fn exec(request: &ExecRequest<'_>) -> Result<u8> {
    let words: Vec<_> = request.words.iter().map(|word| word.as_bytes()).collect();
    let (command, size) = (words.join(&b' '), terminal::size());
    anyhow::ensure!(
        command.len() <= LONGEST_COMMAND,
        "the command has {} bytes, and may have {LONGEST_COMMAND}: put it into a file in the guest",
        command.len()
    );
    let mut fields = Fields { data: Some(BASE64.encode(command)), ..Fields::default() };
    if request.terminal.is_some() {
        anyhow::ensure!(
            io::stdin().is_terminal(),
            "--tty: stdin is not a terminal: leave --tty out, and the command reads what stdin has"
        );
        fields.terminal = Some(terminal_type());
        (fields.columns, fields.rows) = size.unzip();
    }
    let guest = find(request.name)?;
    let opened = open(&guest, &ControlRequest::new(Verb::Exec, fields), Some(PATIENCE));
    let mut stream = opened.map_err(|error| unanswered(&guest, error))?;
    // A guest that boots answers when it takes commands.
    stream.get_ref().set_read_timeout(None).context("preparing the connection")?;
    let line = read_line(&mut stream).map_err(|error| unanswered(&guest, error))?;
    answer(&guest, &line)?.map_err(|fault| anyhow!("guest {}: {}", guest.name, fault.text))?;
    stream.get_ref().set_write_timeout(None).context("preparing the connection")?;
    let end = match request.terminal {
        Some(escape) => {
            let session = AttachSession::prepare()?;
            let (what, watching, reconnect) = (None, false, None);
            session.run(Attached { what, stream, escape, watching, size, reconnect })?
        }
        None => carry(stream)?,
    };
    match &end {
        SessionEnd::SentAway(_, why) if why.is_empty() => {}
        SessionEnd::SentAway(_, why) => messages::say(&format!("guest {}: {why}", guest.name)),
        SessionEnd::Left => messages::say("left the command"),
        SessionEnd::Signal(number) => messages::say(&format!("signal {number}: left the command")),
        SessionEnd::Failed(why) => messages::say(why),
    }
    Ok(end.status())
}

/// Carry the three streams until the command has ended.
fn carry(mut stream: BufReader<UnixStream>) -> Result<SessionEnd> {
    let input = io::stdin().as_fd().try_clone_to_owned().context("duplicating stdin")?;
    let to_guest = stream.get_ref().try_clone().context("duplicating a socket")?;
    threads::start("stdin", move || {
        stdin::copy(File::from(input), |bytes| {
            ConsoleFrame::Data(bytes.to_vec()).write_to(&to_guest)
        });
        // The thread that reads notices a closed connection.
        let _ = ConsoleFrame::InputEnd.write_to(&to_guest);
    })
    .context("starting the thread stdin")?;
    loop {
        let frame = match ConsoleFrame::read_from(&mut stream) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(SessionEnd::Failed("the guest's launcher has ended".into())),
            Err(error) => {
                return Ok(SessionEnd::Failed(format!("the connection to the guest: {error}")));
            }
        };
        let written = match frame {
            ConsoleFrame::Data(bytes) => write(io::stdout().lock(), &bytes),
            ConsoleFrame::Stderr(bytes) => write(io::stderr().lock(), &bytes),
            ConsoleFrame::End(status, why) => return Ok(SessionEnd::SentAway(status, why)),
            _ => return Ok(SessionEnd::Failed("a frame that is not a launcher's".into())),
        };
        if let Err(error) = written {
            // The command is left, and gets SIGHUP.
            if error.kind() == ErrorKind::BrokenPipe {
                let status = ExitStatus::of_signal(libc::SIGPIPE);
                return Ok(SessionEnd::SentAway(status.number(), String::new()));
            }
            return Ok(SessionEnd::Failed(format!("writing the command's output: {error}")));
        }
    }
}

fn write(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}
