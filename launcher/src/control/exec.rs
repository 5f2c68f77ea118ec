//! `exec`: a connection that becomes the streams of a new command in the guest. The connection's
//! thread reads what the client sends, and another thread writes what the command does.

use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use devices::threads;
use host::peer;
use lguest_init::frame::FromCommand;
use lguest_init::order::{CommandOrder, Terminal};
use wire::protocol::{Fault, FaultKind, Fields, LONGEST_COMMAND};
use wire::{ConsoleFrame, Wire};

use super::ControlState;
use crate::exec::LinkedCommand;
use crate::exit_status::ExitStatus;

/// The columns and rows of a terminal whose size is not known.
const UNKNOWN_SIZE: (u16, u16) = (80, 24);

/// How often to check whether a client has left whose command does not read.
const LOOK: Duration = Duration::from_millis(200);

/// Make a command for a client, which is started when the init waits for commands.
pub(super) fn admit(
    stream: &UnixStream,
    fields: &Fields,
    state: &ControlState,
) -> Result<(Arc<LinkedCommand>, CommandOrder), Fault> {
    let order = order(fields)?;
    let mut links = state.consoles.iter().filter_map(|console| console.init_link());
    let link = links.next().ok_or_else(|| {
        let text = "it takes no commands: start it with --exec or --agent";
        Fault::new(FaultKind::Failed, text)
    })?;
    while !link.wait_until_ready(Some(Instant::now() + LOOK)) {
        if link.is_over() || state.exit.is_announced() {
            return Err(Fault::new(FaultKind::Ending, "the guest is about to end"));
        }
        if peer::has_left(stream) {
            return Err(Fault::new(FaultKind::Failed, "the client has left"));
        }
    }
    let command = link.new_command();
    let command =
        command.ok_or_else(|| Fault::new(FaultKind::Busy, "too many commands run in it"))?;
    Ok((Arc::new(command), order))
}

/// The order that the fields describe.
fn order(fields: &Fields) -> Result<CommandOrder, Fault> {
    let fault = |text: String| Fault::new(FaultKind::Field, text);
    let command = BASE64.decode(fields.data.as_deref().unwrap_or_default());
    let command = command.map_err(|error| fault(format!("\"data\" is not base64: {error}")))?;
    if command.contains(&0) || command.len() > LONGEST_COMMAND {
        return Err(fault(format!("a command has no byte 0, and {LONGEST_COMMAND} bytes at most")));
    }
    let terminal = fields.terminal.clone().map(|kind| {
        let size = fields.columns.zip(fields.rows).filter(|size| size.0 > 0 && size.1 > 0);
        let (columns, rows) = size.unwrap_or(UNKNOWN_SIZE);
        Terminal { columns, rows, kind }
    });
    if terminal.as_ref().is_some_and(|it| it.kind.is_empty() || it.kind.contains('\n')) {
        return Err(fault("\"terminal\" is a type of terminal, such as xterm".into()));
    }
    Ok(CommandOrder { command, terminal, ..CommandOrder::default() })
}

/// Carry the streams of a command until it ends or the client leaves.
pub(super) fn serve(
    stream: &UnixStream,
    input: BufReader<&UnixStream>,
    (command, order): (Arc<LinkedCommand>, CommandOrder),
) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    let (writer, output) = (Arc::clone(&command), stream.try_clone()?);
    let writing = threads::start("exec-client", move || {
        // The client sees how its connection ends.
        if let Err(error) = write_out(&writer, &output) {
            log::debug!("control: exec: {error}");
        }
        // The thread that reads wakes up.
        let _ = output.shutdown(Shutdown::Both);
    });
    let Ok(writing) = writing else {
        command.leave();
        return Err(io::Error::other("the host has no thread left"));
    };
    command.start(&order);
    let read = read(stream, input, &command);
    command.leave();
    let _ = writing.join(); // The thread has no code that panics.
    read
}

/// Write the output of the command, and how it ended.
fn write_out(command: &LinkedCommand, stream: &UnixStream) -> io::Result<()> {
    let say = |frame: &ConsoleFrame| Wire::Frames.say(frame, stream);
    let mut unreported = 0;
    while let Some(frame) = command.next_output() {
        let (frame, length) = match frame {
            FromCommand::Stdout(bytes) => {
                let length = bytes.len();
                (ConsoleFrame::Data(bytes), length)
            }
            FromCommand::Stderr(bytes) => {
                let length = bytes.len();
                (ConsoleFrame::Stderr(bytes), length)
            }
            FromCommand::Ended(status) => {
                return say(&ConsoleFrame::End(status, String::new()));
            }
            FromCommand::NotStarted(why) => {
                return say(&ConsoleFrame::End(ExitStatus::FAILED.number(), why));
            }
            FromCommand::Taken(_) => continue,
        };
        say(&frame)?;
        command.written(length, &mut unreported);
    }
    let why = "the guest has ended before the command";
    say(&ConsoleFrame::End(ExitStatus::FAILED.number(), why.into()))
}

/// Read what the client sends until it leaves.
fn read(
    stream: &UnixStream,
    mut input: BufReader<&UnixStream>,
    command: &LinkedCommand,
) -> io::Result<()> {
    while let Some(frame) = Wire::Frames.hear(&mut input)? {
        match frame {
            ConsoleFrame::Data(bytes) => hand_on(&bytes, stream, command)?,
            ConsoleFrame::InputEnd => command.end_input(),
            ConsoleFrame::Size(rows, columns) => command.resize(columns, rows),
            ConsoleFrame::Stderr(_) | ConsoleFrame::Dropped(_) | ConsoleFrame::End(..) => {
                return Err(io::Error::other("a frame that is not a client's"));
            }
        }
    }
    Ok(())
}

/// Send input to the command, as fast as it reads. Input of a command that has ended is discarded:
/// its client still reads the output. Stops if the client has left.
fn hand_on(mut bytes: &[u8], stream: &UnixStream, command: &LinkedCommand) -> io::Result<()> {
    while !bytes.is_empty() {
        let Ok(sent) = command.send_some(bytes, Some(Instant::now() + LOOK)) else { return Ok(()) };
        bytes = bytes.get(sent..).unwrap_or_default();
        if sent == 0 && peer::has_left(stream) {
            return Err(io::Error::other("the client has left"));
        }
    }
    Ok(())
}
