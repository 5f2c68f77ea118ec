//! The commands about the consoles of guests that run: `console`, `log`, `peek`, `send`
//! and `resize`.

use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use host::stdin::escape::Escape;
use host::terminal;
use serde_json::{Value, json};
use wire::protocol::{Fields, Kind, Mode, Request, Side, VERSION, Verb};

use super::attach::{self, Admission, Attached, Refused};
use super::stay::Stay;
use super::{PATIENCE, ask, find};
use crate::config::{CertainConsole, ConsoleTarget};
use crate::runtime::{self, Found};

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
pub(crate) fn log(target: &ConsoleTarget) -> Result<()> {
    let fields = Fields { console: Some(target.console.clone()), ..Fields::default() };
    write(&data(&ask(&find(&target.name)?, Verb::Log, &fields, PATIENCE)?)?)
}

/// `lguest log --follow`: the exit status.
///
/// # Errors
/// When there is no such guest or console.
pub(crate) fn follow(target: &ConsoleTarget) -> Result<u8> {
    let attached = attach(&find(&target.name)?, target, Mode::Follow, Some(PATIENCE))?;
    let stream = attached.map_err(|refused| anyhow!(refused.text))?;
    Ok(match attach::follow(stream, io::stdout()) {
        // The reader of stdout has had enough.
        Stay::Left => 0,
        stay => told(&stay),
    })
}

/// `lguest peek`: at most so many bytes, and on stderr or with `json` what there is.
///
/// # Errors
/// When there is no such guest or console, or stdout takes nothing.
pub(crate) fn peek(
    target: &ConsoleTarget,
    side: Side,
    most: Option<usize>,
    json: bool,
) -> Result<()> {
    let console = Some(target.console.clone());
    let fields = Fields { console, side: Some(side), ..Fields::default() };
    let answer = ask(&find(&target.name)?, Verb::Peek, &fields, PATIENCE)?;
    if json {
        let counts = ["unread", "dropped"].into_iter();
        let counts = counts.filter_map(|name| Some((name, answer.get(name)?.clone())));
        let counts: serde_json::Map<_, _> =
            counts.map(|(name, count)| (name.to_string(), count)).collect();
        return write((json!(counts).to_string() + "\n").as_bytes());
    }
    let bytes = data(&answer)?;
    let shown = bytes.get(..most.unwrap_or(usize::MAX)).unwrap_or(&bytes);
    write(shown)?;
    if shown.len() < bytes.len() {
        host::messages::say(&format!("{} of {} bytes", shown.len(), bytes.len()));
    }
    Ok(())
}

/// `lguest send`: what to type, or "-" for what comes from stdin. The exit status:
/// [`FULL`] if the guest did not read, and there was no room for all of it.
///
/// # Errors
/// When there is no such guest or console, or stdin cannot be read.
pub(crate) fn send(target: &CertainConsole, text: &str) -> Result<u8> {
    let guest = find(&target.name)?;
    let mut bytes = text.as_bytes().to_vec();
    if text == "-" {
        bytes.clear();
        io::stdin().read_to_end(&mut bytes).context("reading stdin")?;
    }
    let mut sent = 0;
    for piece in bytes.chunks(PIECE) {
        let data = Some(BASE64.encode(piece));
        let console = Some(target.console.clone());
        let fields = Fields { console, data, ..Fields::default() };
        let answer = ask(&guest, Verb::Send, &fields, PATIENCE)?;
        let taken = answer.get("taken").and_then(Value::as_u64).unwrap_or(0);
        sent += usize::try_from(taken)?;
        if taken < piece.len() as u64 {
            let all = bytes.len();
            let text = format!("the guest does not read its console: {sent} of {all} bytes sent");
            host::messages::say(&text);
            return Ok(FULL);
        }
    }
    Ok(0)
}

/// What somebody wants to do at a console.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) target: &'a ConsoleTarget,
    pub(crate) mode: Mode,
    pub(crate) escape: Escape,
    /// To stay when the guest has ended.
    pub(crate) persist: bool,
}

/// `lguest console`: the exit status.
///
/// # Errors
/// When there is no such guest or console; the terminal has not been touched then.
pub(crate) fn console(wish: &Wish<'_>, wait: bool) -> Result<u8> {
    let name = &wish.target.name;
    let size = terminal::size();
    // While ^C is what it always is.
    let (mut guest, attached) = if wait {
        attach_to_next(wish.target, wish.mode)?
    } else {
        let guest = find(name)?;
        let attached = attach(&guest, wish.target, wish.mode, Some(PATIENCE))?;
        (guest, attached)
    };
    let stream = match attached {
        Ok(stream) => stream,
        Err(refused) => {
            host::messages::say(&refused.text);
            return Ok(refused.status);
        }
    };
    let seat = attach::Seat::prepare()?;
    let what = format!("{name}, console {}", wish.target.console);
    let watching = wish.mode == Mode::Watch;
    let (mode, escape, target) = (wish.mode, wish.escape, wish.target.clone());
    let again = wish.persist.then(|| -> attach::Again {
        Box::new(move || {
            // It may be there a little longer, with us at its console.
            guest.wait_for_end()?;
            let (next, attached) = attach_to_next(&target, mode)?;
            guest = next;
            Ok(attached)
        })
    });
    let stay = seat.stay(Attached { what, stream, escape, watching, size, again })?;
    Ok(told(&stay))
}

/// Tell the user why there is no more; the exit status.
fn told(stay: &Stay) -> u8 {
    host::messages::say(&stay.text());
    stay.status()
}

/// Attach to the guest of that name that is there, or comes: one that is about to end is
/// not it.
fn attach_to_next(target: &ConsoleTarget, mode: Mode) -> Result<(Found, Admission)> {
    loop {
        let guest = runtime::wait_for(&target.name)?;
        // One that is stopped may go on.
        match attach(&guest, target, mode, None) {
            Err(error) => {
                log::debug!("{error:#}");
                guest.wait_for_end()?;
            }
            Ok(attached) => return Ok((guest, attached)),
        }
    }
}

/// Ask the guest for a place at its console: a connection, before the first frame.
fn attach(
    guest: &Found,
    target: &ConsoleTarget,
    mode: Mode,
    patience: Option<Duration>,
) -> Result<Admission> {
    let (columns, rows) = terminal::size().unwrap_or_default();
    let fields = Fields {
        console: Some(target.console.clone()),
        mode: Some(mode),
        rows: Some(rows),
        columns: Some(columns),
        ..Fields::default()
    };
    let request = Request { version: VERSION, verb: Verb::Attach, fields };
    let opened = super::open(guest, &request, patience).and_then(|mut stream| {
        let answer = attach::read_line(&mut stream)?;
        Ok((stream, answer))
    });
    let (stream, answer) = opened.map_err(|error| super::unanswered(guest, error))?;
    if let Err(fault) = super::answer(guest, &answer)? {
        let status = if fault.kind == Kind::Taken { TAKEN } else { 1 };
        let text = format!("guest {}: {}", guest.name, fault.text);
        return Ok(Err(Refused { status, text }));
    }
    stream.get_ref().set_read_timeout(None).context("preparing the connection")?;
    stream.get_ref().set_write_timeout(None).context("preparing the connection")?;
    Ok(Ok(stream))
}

/// `lguest resize`.
///
/// # Errors
/// When there is no such guest or console.
pub(crate) fn resize(target: &CertainConsole, rows: u16, columns: u16) -> Result<()> {
    let (console, rows, columns) = (Some(target.console.clone()), Some(rows), Some(columns));
    let fields = Fields { console, rows, columns, ..Fields::default() };
    ask(&find(&target.name)?, Verb::Resize, &fields, PATIENCE).map(drop)
}

fn data(answer: &Value) -> Result<Vec<u8>> {
    let text = answer.get("data").and_then(Value::as_str).unwrap_or_default();
    BASE64.decode(text).context("the guest's answer")
}

fn write(bytes: &[u8]) -> Result<()> {
    io::stdout().write_all(bytes).context("writing to stdout")
}
