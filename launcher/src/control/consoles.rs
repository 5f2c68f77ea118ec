//! Requests about a guest's consoles: print the buffered output, print unread bytes, type, set the
//! size. No function here waits, except for a snapshot: typing waits until it is written.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use host::peer;
use serde_json::{Value, json};
use wire::Wire;
use wire::protocol::{AttachMode, ConsoleId, Fault, FaultKind, Fields, Side, Verb};

use crate::config::console::Backend;
use crate::console::GuestConsole;
use crate::console::client::{self, AdmittedClient};

/// The answer to a request about a console.
pub(super) fn answer(
    consoles: &[Arc<GuestConsole>],
    verb: Verb,
    fields: &Fields,
) -> Result<Value, Fault> {
    let console = find(consoles, fields.console.as_ref())?;
    match (verb, fields.side) {
        (Verb::Log, _) => Ok(with_data(json!({}), &console.output.kept())),
        (Verb::Peek, Some(Side::Input)) => {
            let unread = console.input.unread();
            let unread =
                unread.map_err(|error| Fault::new(FaultKind::Failed, error.to_string()))?;
            Ok(with_data(json!({ "unread": unread.len() }), &unread))
        }
        (Verb::Peek, _) => {
            let (unread, dropped) = console.output.peek();
            Ok(with_data(json!({ "unread": unread.len(), "dropped": dropped }), &unread))
        }
        (Verb::Send, _) => {
            let data = BASE64.decode(fields.data.as_deref().unwrap_or_default());
            let data = data.map_err(|error| {
                Fault::new(FaultKind::Field, format!("\"data\" is not base64: {error}"))
            })?;
            let taken = console.input.send(&data);
            let taken = taken.map_err(|error| Fault::new(FaultKind::Failed, error.to_string()))?;
            Ok(json!({ "taken": taken }))
        }
        (Verb::Resize, _) => {
            let size = fields
                .columns
                .zip(fields.rows)
                .filter(|(columns, rows)| *columns != 0 && *rows != 0);
            let (columns, rows) = size.ok_or_else(|| {
                Fault::new(FaultKind::Field, "\"rows\" and \"columns\" begin with 1")
            })?;
            console.resize(columns, rows);
            Ok(json!({}))
        }
        _ => Err(Fault::new(FaultKind::Verb, "that is not about a console")),
    }
}

/// Add bytes to an answer as `data`. (The macro `json!` would copy their text.)
fn with_data(mut answer: Value, data: &[u8]) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("data".into(), Value::String(BASE64.encode(data)));
    }
    answer
}

/// Admit a client to a console, for the verb `attach`.
pub(super) fn admit(
    consoles: &[Arc<GuestConsole>],
    stream: &UnixStream,
    fields: &Fields,
) -> Result<AdmittedClient, Fault> {
    let console = find(consoles, fields.console.as_ref())?;
    let mode = fields.mode.unwrap_or(AttachMode::Write);
    let number = console.number;
    let busy = |text: String| Fault::new(FaultKind::Taken, text);
    if console.is_stdio() && matches!(mode, AttachMode::Write | AttachMode::Force) {
        let pid = std::process::id();
        return Err(busy(format!(
            "console {number} is on the terminal of its lguest (pid {pid}): use --read-only"
        )));
    }
    client::admit(stream, peer::pid(stream), console, mode, Wire::Frames).map_err(|other| {
        match other {
            Some(pid) => {
                let advice = "use --force to take it over, or --read-only";
                busy(format!("console {number} is in use by pid {pid}: {advice}"))
            }
            None => Fault::new(FaultKind::Failed, "the host has no descriptor to spare"),
        }
    })
}

fn find<'a>(
    consoles: &'a [Arc<GuestConsole>],
    which: Option<&ConsoleId>,
) -> Result<&'a Arc<GuestConsole>, Fault> {
    let found = match which {
        None => consoles.first(),
        Some(ConsoleId::Number(number)) => consoles.get(*number),
        Some(ConsoleId::Name(wanted)) => consoles.iter().find(|console| {
            console.config.name.as_ref().is_some_and(|name| name.as_str() == wanted)
        }),
    };
    let which = which.unwrap_or(&ConsoleId::Number(0));
    let fault = |text| Fault::new(FaultKind::Console, text);
    let console = found.ok_or_else(|| {
        let names = consoles.iter().filter_map(|console| console.config.name.as_ref());
        let names: String = names.map(|name| format!(", {name}")).collect();
        let last = consoles.len().saturating_sub(1);
        fault(format!("no console {which}: there are 0 to {last}{names}"))
    })?;
    match console.config.backend {
        Backend::Null => Err(fault(format!("console {which} is null: nobody is ever there"))),
        Backend::Exec { .. } => {
            Err(fault(format!("console {which} is the command's (--exec), and nobody else's")))
        }
        Backend::Agent => {
            Err(fault(format!("console {which} is for the commands of `lguest exec` (--agent)")))
        }
        _ => Ok(console),
    }
}
