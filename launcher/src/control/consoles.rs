//! What is asked about a guest's consoles: what was printed, what nobody has read
//! yet, to have something typed, to have another size. Nothing here waits. Called
//! by [`super::connection`].

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde_json::{Value, json};

use super::protocol::{Fault, Fields, Kind, Mode, Side, Verb};
use crate::attach::server::{self, Admitted};
use crate::console::Console;

/// The answer to a verb that is about a console.
pub(super) fn answer(
    consoles: &[Arc<Console>],
    verb: Verb,
    fields: &Fields,
) -> Result<Value, Fault> {
    let console = find(consoles, fields.console)?;
    match (verb, fields.side) {
        (Verb::Log, _) => Ok(json!({ "data": BASE64.encode(console.output.kept()) })),
        (Verb::Peek, Some(Side::Input)) => {
            let unread = console.input.unread();
            let unread = unread.map_err(|error| Fault::new(Kind::Failed, error.to_string()))?;
            Ok(json!({ "data": BASE64.encode(&unread), "unread": unread.len() }))
        }
        (Verb::Peek, _) => {
            let (unread, dropped) = console.output.peek();
            let (data, unread) = (BASE64.encode(&unread), unread.len());
            Ok(json!({ "data": data, "unread": unread, "dropped": dropped }))
        }
        (Verb::Send, _) => {
            let data = BASE64.decode(fields.data.as_deref().unwrap_or_default());
            let data = data.map_err(|error| {
                Fault::new(Kind::Field, format!("\"data\" is no base64: {error}"))
            })?;
            let taken = console.input.send(&data);
            let taken = taken.map_err(|error| Fault::new(Kind::Failed, error.to_string()))?;
            Ok(json!({ "taken": taken }))
        }
        (Verb::Resize, _) => {
            let size = fields
                .columns
                .zip(fields.rows)
                .filter(|(columns, rows)| *columns != 0 && *rows != 0);
            let (columns, rows) = size
                .ok_or_else(|| Fault::new(Kind::Field, "\"rows\" and \"columns\" begin with 1"))?;
            console.resize(columns, rows);
            Ok(json!({}))
        }
        _ => Err(Fault::new(Kind::Verb, "that is not about a console")),
    }
}

/// The answer to `attach`: a place at the console.
pub(super) fn admit(
    consoles: &[Arc<Console>],
    stream: &UnixStream,
    fields: &Fields,
) -> Result<Admitted, Fault> {
    let console = find(consoles, fields.console)?;
    let mode = fields.mode.unwrap_or(Mode::Write);
    let number = console.number;
    let busy = |text: String| Fault::new(Kind::Taken, text);
    if console.is_stdio() && mode != Mode::Watch {
        let pid = std::process::id();
        return Err(busy(format!(
            "console {number} is on the terminal of its lguest (pid {pid}): use --read-only"
        )));
    }
    let pid = getsockopt(stream, PeerCredentials).map_or(0, |peer| peer.pid());
    server::admit(stream, pid, console, mode).map_err(|other| match other {
        Some(pid) => {
            let advice = "use --force to take it over, or --read-only";
            busy(format!("console {number} is in use by pid {pid}: {advice}"))
        }
        None => Fault::new(Kind::Failed, "the host has no descriptor to spare"),
    })
}

fn find(consoles: &[Arc<Console>], number: Option<usize>) -> Result<&Arc<Console>, Fault> {
    let number = number.unwrap_or(0);
    consoles.get(number).ok_or_else(|| {
        let last = consoles.len().saturating_sub(1);
        Fault::new(Kind::Console, format!("no console {number}: there are 0 to {last}"))
    })
}
