//! The control socket's requests and answers: one JSON object on each line, in both directions. The
//! launcher and its clients use the same types. docs/control.md describes the protocol.

mod fields;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use fields::{AttachMode, ConsoleId, Fields, Side};

/// The version of the protocol that this launcher speaks.
pub const VERSION: u64 = 1;

/// The longest line in bytes, without its line feed.
pub const LONGEST_LINE: usize = 64 << 10;

/// The longest command in bytes: its base64 fits into a line.
pub const LONGEST_COMMAND: usize = 40 << 10;

/// The largest number of characters of a client's word that an answer repeats.
const REPEATED: usize = 60;

/// The verb of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Report the guest, its devices and consoles.
    Info,
    /// Report the counts of queues and vCPUs.
    Stats,
    /// End the guest in order.
    Stop,
    /// End the guest at once.
    Kill,
    /// Restart the guest.
    Reset,
    /// Stop the vCPUs and the devices.
    Pause,
    /// Let a paused guest run.
    Resume,
    /// Save the guest to files of the client.
    Snapshot,
    /// Send a console's buffered output.
    Log,
    /// Send unread bytes of a console without consuming them.
    Peek,
    /// Type into a console.
    Send,
    /// Change the size of a console's window.
    Resize,
    /// Turn the connection into a terminal of a console.
    Attach,
    /// Turn the connection into the streams of a new command in the guest.
    Exec,
}

impl Verb {
    /// The fields that the verb needs.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Log => &["console"],
            Self::Peek => &["console", "side"],
            Self::Send => &["console", "data"],
            Self::Resize => &["console", "rows", "columns"],
            Self::Attach => &["console", "mode", "rows", "columns"],
            Self::Exec => &["data"],
            _ => &[],
        }
    }

    /// The fields that the verb takes and does not need.
    fn optional_fields(self) -> &'static [&'static str] {
        match self {
            Self::Stop => &["grace"],
            Self::Snapshot => &["stop"],
            Self::Exec => &["terminal", "rows", "columns"],
            _ => &[],
        }
    }

    /// Whether a request of any version may use the verb.
    fn is_of_all_versions(self) -> bool {
        matches!(self, Self::Info | Self::Stop)
    }
}

/// Why a request was refused or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// The line is not a request.
    Syntax,
    /// The launcher does not speak this version.
    Version,
    /// The verb does not exist.
    Verb,
    /// A field does not exist, is missing, or has a wrong value.
    Field,
    /// The line is too long.
    Length,
    /// The console does not exist.
    Console,
    /// Another client types on this console.
    Taken,
    /// Too many clients are connected.
    Busy,
    /// The client belongs to another user.
    Forbidden,
    /// The guest is about to end.
    Ending,
    /// The launcher tried and failed.
    Failed,
}

/// An answer that reports a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The reason, for programs.
    pub kind: FaultKind,
    /// The reason, for people.
    pub text: String,
}

impl Fault {
    /// A fault of this kind with this text.
    #[must_use]
    pub fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// A request, as a client writes it.
#[derive(Debug, Serialize)]
pub struct ControlRequest {
    /// The version of the protocol: [`VERSION`].
    pub version: u64,
    /// The verb: the action that the client asks for.
    #[serde(rename = "do")]
    pub verb: Verb,
    /// The fields that belong to the verb.
    #[serde(flatten)]
    pub fields: Fields,
}

impl ControlRequest {
    /// A request of this version.
    #[must_use]
    pub fn new(verb: Verb, fields: Fields) -> Self {
        Self { version: VERSION, verb, fields }
    }

    /// The line that goes over the socket, with its line feed.
    #[must_use]
    pub fn line(&self) -> String {
        // Cannot fail: the request consists of strings and numbers.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// An answer, as a launcher writes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    /// The request was carried out.
    Ok(T),
    /// The request was refused, or it failed.
    Error(Fault),
}

impl<T: Serialize> Reply<T> {
    /// The line that goes over the socket, with its line feed.
    pub fn line(&self) -> String {
        #[derive(Serialize)]
        struct Versioned<'a, R> {
            version: u64,
            #[serde(flatten)]
            reply: &'a R,
        }
        let line = serde_json::to_string(&Versioned { version: VERSION, reply: self });
        // Cannot fail: the answer consists of strings and numbers.
        line.unwrap_or_default() + "\n"
    }
}

/// Parse a request: its verb and fields.
///
/// # Errors
/// The fault with which the launcher answers a malformed request.
pub fn parse(line: &[u8]) -> Result<(Verb, Fields), Fault> {
    let syntax = |text: &str| Fault::new(FaultKind::Syntax, text);
    let request: Map<String, Value> = serde_json::from_slice(line)
        .map_err(|error| syntax(&format!("this is not a JSON object: {error}")))?;
    let Some(Value::String(word)) = request.get("do") else {
        return Err(syntax("there is no \"do\" with the name of a verb"));
    };
    let version = request.get("version").and_then(Value::as_u64);
    let version = version.ok_or_else(|| syntax("there is no \"version\" with a number"))?;
    let verb: Result<Verb, _> = serde_json::from_value(Value::String(word.clone()));
    if version != VERSION {
        return match verb {
            Ok(verb) if verb.is_of_all_versions() => Ok((verb, Fields::default())),
            _ => Err(Fault::new(
                FaultKind::Version,
                format!("version {version} is not known: this launcher speaks version {VERSION}"),
            )),
        };
    }
    let verb = verb.map_err(|_| {
        let text = "there are info, stats, stop, kill, reset, pause, resume, snapshot, log, \
                    peek, send, resize, attach and exec";
        Fault::new(FaultKind::Verb, format!("no verb {:?}: {text}", shortened(word)))
    })?;
    let fault = |text: String| Fault::new(FaultKind::Field, text);
    let fields = || ["version", "do"].iter().chain(verb.fields()).chain(verb.optional_fields());
    let known = |field: &str| fields().any(|known| *known == field);
    let there = || {
        let fields = fields();
        fields.map(|field| format!("{field:?}")).collect::<Vec<_>>().join(", ")
    };
    if let Some(field) = request.keys().find(|field| !known(field)) {
        return Err(fault(format!("no field {:?}: there are {}", shortened(field), there())));
    }
    let missing = |field: &str| matches!(request.get(field), None | Some(Value::Null));
    if let Some(field) = verb.fields().iter().find(|field| missing(field)) {
        return Err(fault(format!("there is no {field:?}: it takes {}", there())));
    }
    let fields = serde_json::from_value(Value::Object(request));
    Ok((verb, fields.map_err(|error| fault(error.to_string()))?))
}

fn shortened(word: &str) -> String {
    word.chars().take(REPEATED).collect()
}
