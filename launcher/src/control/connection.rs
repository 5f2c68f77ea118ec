//! A connection to the control socket, from the first line to the last, in its own thread. Only a
//! complete line has an effect, whatever a client sends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use host::peer;
use wire::protocol::{Fault, FaultKind, Fields, LONGEST_LINE, Reply, Verb, parse};

use super::{ConnectionSlot, ControlState, GuestCommand, consoles};
use crate::ending::Ending;
use crate::snapshot::save::{SaveRequest, SnapshotFiles};

/// A client that sends nothing, or reads nothing, for this time is disconnected.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// How long a refused client may take to read the reason.
const REFUSED: Duration = Duration::from_millis(100);

/// Answer until the client leaves.
pub(super) fn serve(stream: &UnixStream, slot: &ConnectionSlot, state: &ControlState) {
    // The client sees how its connection ends.
    if let Err(error) = converse(stream, slot, state) {
        log::debug!("control: {error}");
    }
}

fn converse(stream: &UnixStream, slot: &ConnectionSlot, state: &ControlState) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    if !peer::is_one_of_us(stream) {
        return refuse(stream, FaultKind::Forbidden, "this guest belongs to another user");
    }
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(LONGEST_LINE + 1).map_err(io::Error::other)?;
        lines.by_ref().take(limit).read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => match parse(&line) {
                Ok((Verb::Attach | Verb::Exec, _)) if !slot.become_console_client() => {
                    return refuse(stream, FaultKind::Busy, "too many sit at its consoles");
                }
                Ok((Verb::Exec, fields)) => return exec(stream, lines, &fields, state),
                Ok((Verb::Attach, fields)) => return attach(stream, lines, &fields, state),
                Ok((Verb::Snapshot, fields)) => {
                    return snapshot(stream, lines, fields.stop.unwrap_or(false), state);
                }
                asked => reply(stream, &answer(asked, state))?,
            },
            Some(_) if line.len() >= LONGEST_LINE => {
                let text = format!("a line has {LONGEST_LINE} bytes at most");
                return refuse(stream, FaultKind::Length, &text);
            }
            // An incomplete line has no effect.
            _ => return Ok(()),
        }
    }
}

/// Turn the connection into a console's, if the console is available.
fn attach(
    stream: &UnixStream,
    lines: BufReader<&UnixStream>,
    fields: &Fields,
    state: &ControlState,
) -> io::Result<()> {
    match consoles::admit(&state.consoles, stream, fields) {
        Err(fault) => reply(stream, &Reply::<Empty>::Error(fault).line()),
        Ok(admitted) => {
            reply(stream, &Reply::Ok(Empty {}).line())?;
            let size = (fields.rows.unwrap_or(0), fields.columns.unwrap_or(0));
            admitted.serve(lines, size)
        }
    }
}

/// Turn the connection into the streams of a new command, if the guest takes commands.
fn exec(
    stream: &UnixStream,
    lines: BufReader<&UnixStream>,
    fields: &Fields,
    state: &ControlState,
) -> io::Result<()> {
    match super::exec::admit(stream, fields, state) {
        Err(fault) => reply(stream, &Reply::<Empty>::Error(fault).line()),
        Ok(admitted) => {
            reply(stream, &Reply::Ok(Empty {}).line())?;
            super::exec::serve(stream, lines, admitted)
        }
    }
}

/// Save the guest to files of the client. A guest that is to be stopped stays paused until the
/// client says so: the client first makes sure that the snapshot is complete. If the client leaves
/// instead, the guest continues.
fn snapshot(
    stream: &UnixStream,
    lines: BufReader<&UnixStream>,
    stop: bool,
    state: &ControlState,
) -> io::Result<()> {
    let names = &state.snapshot_files;
    reply(stream, &Reply::Ok(serde_json::json!({ "files": names })).line())?;
    let Some(files) = SnapshotFiles::new(names, peer::receive_files(stream)?) else {
        return refuse(stream, FaultKind::Field, "these are not the files that were asked for");
    };
    let request = SaveRequest { files, stop, client: Some(stream.try_clone()?) };
    let saved = match state.sender.save(request) {
        Ok(saved) => saved,
        Err(fault) => return reply(stream, &Reply::<Empty>::Error(fault).line()),
    };
    let stay_paused = saved.was_paused;
    let told = reply(stream, &Reply::Ok(saved).line());
    if !stop {
        return told;
    }
    if told.is_ok() && asks_to_stop(lines) {
        state.exit.end(Ending::Saved);
        return reply(stream, &Reply::Ok(Empty {}).line());
    }
    log::info!("control: the client has left without stopping the guest that it had saved");
    // The guest may be about to end for another reason.
    let _ = state.sender.run(GuestCommand::Release { stay_paused });
    Ok(())
}

/// Whether the next line is a request to stop the guest.
fn asks_to_stop(lines: BufReader<&UnixStream>) -> bool {
    let mut line = Vec::new();
    let read = lines.take(LONGEST_LINE as u64).read_until(b'\n', &mut line);
    read.is_ok() && line.pop() == Some(b'\n') && matches!(parse(&line), Ok((Verb::Stop, _)))
}

/// The line that answers this request.
fn answer(asked: Result<(Verb, Fields), Fault>, state: &ControlState) -> String {
    let end = |ending| {
        state.exit.end(ending);
        Ok(())
    };
    let done = match asked {
        Ok((Verb::Info, _)) => return Reply::Ok(state.info.answer()).line(),
        Ok((Verb::Stats, _)) => return Reply::Ok(state.counts.answer()).line(),
        Ok((Verb::Stop, Fields { grace: Some(grace), .. })) => {
            state.sender.power_off(Duration::from_millis(grace))
        }
        Ok((Verb::Stop, _)) => end(Ending::Stopped),
        Ok((Verb::Kill, _)) => end(Ending::Killed),
        Ok((Verb::Reset, _)) => end(Ending::Reset("`lguest reset`")),
        Ok((Verb::Pause, _)) => state.sender.run(GuestCommand::Pause),
        Ok((Verb::Resume, _)) => state.sender.run(GuestCommand::Resume),
        Ok((verb, fields)) => match consoles::answer(&state.consoles, verb, &fields) {
            Ok(answer) => return Reply::Ok(answer).line(),
            Err(fault) => Err(fault),
        },
        Err(fault) => Err(fault),
    };
    match done {
        Ok(()) => Reply::Ok(Empty {}).line(),
        Err(fault) => Reply::<Empty>::Error(fault).line(),
    }
}

/// The answer to a request that has no result.
#[derive(Debug, serde::Serialize)]
struct Empty {}

/// Send one line.
fn reply(mut stream: &UnixStream, line: &str) -> io::Result<()> {
    stream.write_all(line.as_bytes())
}

/// Send the reason of a refusal. Requests of the client are not read: closing discards them.
fn refuse(stream: &UnixStream, kind: FaultKind, text: &str) -> io::Result<()> {
    reply(stream, &Reply::<Empty>::Error(Fault::new(kind, text)).line())
}

/// Refuse a connection because there are too many. The accepting thread does this.
pub(super) fn refuse_busy(stream: &UnixStream) {
    let told = stream
        .set_write_timeout(Some(REFUSED))
        .and_then(|()| refuse(stream, FaultKind::Busy, "too many are connected: try again later"));
    if let Err(error) = told {
        log::debug!("control: {error}");
    }
}
