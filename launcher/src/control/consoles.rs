//! What is asked about a guest's consoles: what was printed, what nobody has read
//! yet, to have something typed, to have another size. Nothing here waits. Called
//! by [`super::connection`].

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::protocol::{Fault, Fields, Kind, Side, Verb};
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
            console.window.set(columns, rows);
            console.resized();
            Ok(json!({}))
        }
        _ => Err(Fault::new(Kind::Verb, "that is not about a console")),
    }
}

fn find(consoles: &[Arc<Console>], number: Option<usize>) -> Result<&Console, Fault> {
    let number = number.unwrap_or(0);
    consoles.get(number).map(Arc::as_ref).ok_or_else(|| {
        let last = consoles.len().saturating_sub(1);
        Fault::new(Kind::Console, format!("no console {number}: there are 0 to {last}"))
    })
}
