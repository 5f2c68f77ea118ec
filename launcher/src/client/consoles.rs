//! The commands about the consoles of guests that run: `log`, `peek`, `send` and
//! `resize`. Called by `main`.

use std::io::{self, Read, Write};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::{PATIENCE, ask, find};
use crate::attach::Escape;
use crate::attach::client::{self, Attached};
use crate::config::Name;
use crate::control::protocol::{Fields, Kind, Mode, Request, Side, VERSION, Verb};
use crate::exit::Ending;
use crate::terminal;

/// Somebody else types on the console.
const TAKEN: u8 = 3;

/// What is sent at once: base64 makes it longer, and a line has its limit.
const PIECE: usize = 32 << 10;

/// There is no room for what was to be typed (EX_TEMPFAIL).
pub(crate) const FULL: u8 = 75;

/// `lguest log`.
///
/// # Errors
/// When there is no such guest or console, or stdout takes nothing.
pub(crate) fn log(name: &Name, console: usize) -> Result<()> {
    let fields = Fields { console: Some(console), ..Fields::default() };
    write(&data(&ask(&find(name)?, Verb::Log, &fields, PATIENCE)?)?)
}

/// `lguest peek`: at most so many bytes, and on stderr or with `json` what there is.
///
/// # Errors
/// When there is no such guest or console, or stdout takes nothing.
pub(crate) fn peek(
    name: &Name,
    console: usize,
    side: Side,
    most: Option<usize>,
    json: bool,
) -> Result<()> {
    let fields = Fields { console: Some(console), side: Some(side), ..Fields::default() };
    let answer = ask(&find(name)?, Verb::Peek, &fields, PATIENCE)?;
    if json {
        let counts = ["unread", "dropped"].into_iter();
        let counts = counts.filter_map(|name| Some((name, answer.get(name)?.clone())));
        let counts: serde_json::Map<_, _> =
            counts.map(|(name, count)| (name.to_string(), count)).collect();
        return write((json!(counts).to_string() + "\n").as_bytes());
    }
    let bytes = data(&answer)?;
    write(bytes.get(..most.unwrap_or(usize::MAX)).unwrap_or(&bytes))
}

/// `lguest send`: what to type, or "-" for what comes from stdin. The exit status:
/// [`FULL`] if the guest did not read, and there was no room for all of it.
///
/// # Errors
/// When there is no such guest or console, or stdin cannot be read.
pub(crate) fn send(name: &Name, console: usize, text: &str) -> Result<u8> {
    let guest = find(name)?;
    let mut bytes = text.as_bytes().to_vec();
    if text == "-" {
        bytes.clear();
        io::stdin().read_to_end(&mut bytes).context("reading stdin")?;
    }
    let mut sent = 0;
    for piece in bytes.chunks(PIECE) {
        let data = Some(BASE64.encode(piece));
        let fields = Fields { console: Some(console), data, ..Fields::default() };
        let answer = ask(&guest, Verb::Send, &fields, PATIENCE)?;
        let taken = answer.get("taken").and_then(Value::as_u64).unwrap_or(0);
        sent += usize::try_from(taken)?;
        if taken < piece.len() as u64 {
            let all = bytes.len();
            let text = format!("the guest does not read its console: {sent} of {all} bytes sent");
            crate::messages::say(&text);
            return Ok(FULL);
        }
    }
    Ok(0)
}

/// `lguest console`: the exit status.
///
/// # Errors
/// When there is no such guest or console; the terminal has not been touched then.
pub(crate) fn console(name: &Name, console: usize, mode: Mode, escape: Escape) -> Result<u8> {
    let guest = find(name)?;
    let seat = client::Seat::prepare()?;
    let size = terminal::size();
    let (columns, rows) = size.unwrap_or_default();
    let fields = Fields {
        console: Some(console),
        mode: Some(mode),
        rows: Some(rows),
        columns: Some(columns),
        ..Fields::default()
    };
    let request = Request { version: VERSION, verb: Verb::Attach, fields };
    let mut stream = super::open(&guest, &request, PATIENCE)
        .map_err(|error| super::unanswered(&guest, error))?;
    let answer =
        client::read_line(&mut stream).map_err(|error| super::unanswered(&guest, error))?;
    let answer = super::answer(&guest, &answer)?;
    if let Err(fault) = answer {
        crate::messages::say(&format!("guest {name}: {}", fault.text));
        return Ok(if fault.kind == Kind::Taken { TAKEN } else { 1 });
    }
    stream.get_ref().set_read_timeout(None).context("preparing the connection")?;
    stream.get_ref().set_write_timeout(None).context("preparing the connection")?;
    let what = format!("{name}, console {console}");
    let watching = mode == Mode::Watch;
    let ending = seat.stay(Attached { what, stream, escape, watching, size })?;
    let text = match &ending {
        // It ends our stay, and nobody's guest.
        Ending::Signal(number) => {
            Some(format!("signal {number}: left the console; the guest goes on"))
        }
        ending => ending.text(),
    };
    if let Some(text) = text {
        crate::messages::say(&text);
    }
    Ok(ending.status())
}

/// `lguest resize`.
///
/// # Errors
/// When there is no such guest or console.
pub(crate) fn resize(name: &Name, console: usize, rows: u16, columns: u16) -> Result<()> {
    let size = (Some(rows), Some(columns));
    let fields =
        Fields { console: Some(console), rows: size.0, columns: size.1, ..Fields::default() };
    ask(&find(name)?, Verb::Resize, &fields, PATIENCE).map(drop)
}

fn data(answer: &Value) -> Result<Vec<u8>> {
    let text = answer.get("data").and_then(Value::as_str).unwrap_or_default();
    BASE64.decode(text).context("the guest's answer")
}

fn write(bytes: &[u8]) -> Result<()> {
    io::stdout().write_all(bytes).context("writing to stdout")
}
