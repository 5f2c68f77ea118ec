//! One connection to the control socket, from the first line to the last, in a
//! thread of its own. Only a complete line has an effect, whatever a client
//! sends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use host::peer;
use wire::protocol::{Fault, Fields, Kind, LONGEST_LINE, Reply, Verb, parse};

use super::{Office, Order, Place, consoles};
use crate::ending::Ending;

/// A client that says nothing, or does not listen, for so long has lost its place.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// One that was refused is not waited for.
const REFUSED: Duration = Duration::from_millis(100);

/// Answer until the client leaves.
pub(super) fn serve(stream: &UnixStream, place: &Place, office: &Office) {
    // Its end, and whatever is wrong with it, is the client's own affair.
    if let Err(error) = converse(stream, place, office) {
        log::debug!("control: {error}");
    }
}

fn converse(stream: &UnixStream, place: &Place, office: &Office) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    if !peer::is_one_of_us(stream) {
        return refuse(stream, Kind::Forbidden, "this guest belongs to another user");
    }
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(LONGEST_LINE + 1).map_err(io::Error::other)?;
        lines.by_ref().take(limit).read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => match parse(&line) {
                Ok((Verb::Attach, _)) if !place.sit_down() => {
                    return refuse(stream, Kind::Busy, "too many sit at its consoles");
                }
                Ok((Verb::Attach, fields)) => return attach(stream, lines, &fields, office),
                asked => reply(stream, &answer(asked, office))?,
            },
            Some(_) if line.len() >= LONGEST_LINE => {
                let text = format!("a line has {LONGEST_LINE} bytes at most");
                return refuse(stream, Kind::Length, &text);
            }
            // An incomplete line has no effect.
            _ => return Ok(()),
        }
    }
}

/// From here on the connection is a console's, if that can be had.
fn attach(
    stream: &UnixStream,
    lines: BufReader<&UnixStream>,
    fields: &Fields,
    office: &Office,
) -> io::Result<()> {
    match consoles::admit(&office.consoles, stream, fields) {
        Err(fault) => reply(stream, &Reply::<Empty>::Error(fault).line()),
        Ok(admitted) => {
            reply(stream, &Reply::Ok(Empty {}).line())?;
            let size = (fields.rows.unwrap_or(0), fields.columns.unwrap_or(0));
            admitted.serve(lines, size)
        }
    }
}

/// The line that answers this one.
fn answer(asked: Result<(Verb, Fields), Fault>, office: &Office) -> String {
    let end = |ending| {
        office.exit.end(ending);
        Ok(())
    };
    let done = match asked {
        Ok((Verb::Info, _)) => return Reply::Ok(office.machine.info()).line(),
        Ok((Verb::Stats, _)) => return Reply::Ok(office.counts.answer()).line(),
        Ok((Verb::Stop, Fields { grace: Some(grace), .. })) => {
            office.reins.power_off(Duration::from_millis(grace))
        }
        Ok((Verb::Stop, _)) => end(Ending::Stopped),
        Ok((Verb::Kill, _)) => end(Ending::Killed),
        Ok((Verb::Reset, _)) => end(Ending::Reset("`lguest reset`")),
        Ok((Verb::Pause, _)) => office.reins.give(Order::Pause),
        Ok((Verb::Resume, _)) => office.reins.give(Order::Resume),
        Ok((verb, fields)) => match consoles::answer(&office.consoles, verb, &fields) {
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

/// What there is to say of something that was done.
#[derive(Debug, serde::Serialize)]
struct Empty {}

fn reply(mut stream: &UnixStream, line: &str) -> io::Result<()> {
    stream.write_all(line.as_bytes())
}

/// Say why not. What the client has written is not read: closing discards it.
fn refuse(stream: &UnixStream, kind: Kind, text: &str) -> io::Result<()> {
    reply(stream, &Reply::<Empty>::Error(Fault::new(kind, text)).line())
}

/// Say that there are too many already. By the thread that accepts.
pub(super) fn refuse_busy(stream: &UnixStream) {
    let told = stream
        .set_write_timeout(Some(REFUSED))
        .and_then(|()| refuse(stream, Kind::Busy, "too many are connected: try again later"));
    if let Err(error) = told {
        log::debug!("control: {error}");
    }
}
