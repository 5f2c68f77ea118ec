//! The commands about the consoles of guests that run: `console`, `log`, `peek`, `send` and
//! `resize`.

use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use host::stdin::escape::Escape;
use host::terminal;
use serde_json::{Value, json};
use wire::protocol::{AttachMode, ControlRequest, FaultKind, Fields, Side, Verb};

use super::attach::{self, AttachRefusal, AttachResult, Attached};
use super::session_end::SessionEnd;
use super::{PATIENCE, ask, find};
use crate::config::{ConsoleTarget, RequiredConsole};
use crate::runtime::{self, RunningGuest};

/// The exit status if another client types on the console.
const TAKEN: u8 = 3;

/// How many bytes are sent at once: base64 makes them longer, and a line is limited.
const PIECE: usize = 32 << 10;

/// The exit status if there is no room for the typed text (EX_TEMPFAIL).
pub(crate) const FULL: u8 = 75;

/// `lguest log`.
///
/// # Errors
/// When there is no such guest or console, or stdout cannot be written.
pub(crate) fn log(target: &ConsoleTarget) -> Result<()> {
    let fields = Fields { console: Some(target.console.clone()), ..Fields::default() };
    write(&data(&ask(&find(&target.name)?, Verb::Log, &fields, PATIENCE)?)?)
}

/// `lguest log --follow`: the exit status.
///
/// # Errors
/// When there is no such guest or console.
pub(crate) fn follow(target: &ConsoleTarget) -> Result<u8> {
    let attached = attach(&find(&target.name)?, target, AttachMode::Follow, Some(PATIENCE))?;
    let stream = attached.map_err(|refused| anyhow!(refused.text))?;
    Ok(match attach::follow(stream, io::stdout()) {
        // The reader of stdout has closed it.
        SessionEnd::Left => 0,
        end => report_end(&end),
    })
}

/// `lguest peek`: print at most `most` bytes, and the counts on stderr or with `json`.
///
/// # Errors
/// When there is no such guest or console, or stdout cannot be written.
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

/// `lguest send`: type a text, or stdin if the text is "-". Returns the exit status: [`FULL`] if
/// the guest did not read, and there was no room for all of it.
///
/// # Errors
/// When there is no such guest or console, or stdin cannot be read.
pub(crate) fn send(target: &RequiredConsole, text: &str) -> Result<u8> {
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

/// What the user of `lguest console` asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttachRequest<'a> {
    pub(crate) target: &'a ConsoleTarget,
    pub(crate) mode: AttachMode,
    pub(crate) escape: Escape,
    /// Whether to stay when the guest has ended.
    pub(crate) persist: bool,
}

/// `lguest console`: the exit status.
///
/// # Errors
/// When there is no such guest or console. The terminal is untouched then.
pub(crate) fn console(request: &AttachRequest<'_>, wait: bool) -> Result<u8> {
    let name = &request.target.name;
    let size = terminal::size();
    // Before the terminal becomes raw, so that ^C ends lguest while it waits.
    let (mut guest, attached) = if wait {
        attach_to_next(request.target, request.mode)?
    } else {
        let guest = find(name)?;
        let attached = attach(&guest, request.target, request.mode, Some(PATIENCE))?;
        (guest, attached)
    };
    let stream = match attached {
        Ok(stream) => stream,
        Err(refused) => {
            host::messages::say(&refused.text);
            return Ok(refused.status);
        }
    };
    let session = attach::AttachSession::prepare()?;
    let what = Some(format!("{name}, console {}", request.target.console));
    let watching = request.mode == AttachMode::Watch;
    let (mode, escape, target) = (request.mode, request.escape, request.target.clone());
    let reconnect = request.persist.then(|| -> attach::Reconnect {
        Box::new(move || {
            // The old guest may exist a little longer, with this client at its console.
            guest.wait_for_end()?;
            let (next, attached) = attach_to_next(&target, mode)?;
            guest = next;
            Ok(attached)
        })
    });
    let end = session.run(Attached { what, stream, escape, watching, size, reconnect })?;
    Ok(report_end(&end))
}

/// Print why the session has ended. Returns the exit status.
fn report_end(end: &SessionEnd) -> u8 {
    host::messages::say(&end.text());
    end.status()
}

/// Attach to the guest of this name that runs or comes next. A guest that is about to end does not
/// count.
fn attach_to_next(
    target: &ConsoleTarget,
    mode: AttachMode,
) -> Result<(RunningGuest, AttachResult)> {
    loop {
        let guest = runtime::wait_for(&target.name)?;
        // No timeout: the launcher may be stopped, and continue later.
        match attach(&guest, target, mode, None) {
            Err(error) => {
                log::debug!("{error:#}");
                guest.wait_for_end()?;
            }
            Ok(attached) => return Ok((guest, attached)),
        }
    }
}

/// Ask a guest to admit this client to a console. Returns the connection, before the first frame.
fn attach(
    guest: &RunningGuest,
    target: &ConsoleTarget,
    mode: AttachMode,
    patience: Option<Duration>,
) -> Result<AttachResult> {
    let (columns, rows) = terminal::size().unwrap_or_default();
    let fields = Fields {
        console: Some(target.console.clone()),
        mode: Some(mode),
        rows: Some(rows),
        columns: Some(columns),
        ..Fields::default()
    };
    let request = ControlRequest::new(Verb::Attach, fields);
    let opened = super::open(guest, &request, patience).and_then(|mut stream| {
        let answer = attach::read_line(&mut stream)?;
        Ok((stream, answer))
    });
    let (stream, answer) = opened.map_err(|error| super::unanswered(guest, error))?;
    if let Err(fault) = super::answer(guest, &answer)? {
        let status = if fault.kind == FaultKind::Taken { TAKEN } else { 1 };
        let text = format!("guest {}: {}", guest.name, fault.text);
        return Ok(Err(AttachRefusal { status, text }));
    }
    stream.get_ref().set_read_timeout(None).context("preparing the connection")?;
    stream.get_ref().set_write_timeout(None).context("preparing the connection")?;
    Ok(Ok(stream))
}

/// `lguest resize`.
///
/// # Errors
/// When there is no such guest or console.
pub(crate) fn resize(target: &RequiredConsole, rows: u16, columns: u16) -> Result<()> {
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
