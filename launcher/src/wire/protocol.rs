//! What is said on a control socket: one JSON object a line, in both directions.
//! docs/control.md is its description. Used by both ends, [`crate::control`] and
//! [`crate::client`].

mod fields;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use fields::{Fields, Mode, Side, Which};

/// The version that is spoken here.
pub(crate) const VERSION: u64 = 1;

/// The longest line, without its end.
pub(crate) const LONGEST_LINE: usize = 64 << 10;

/// The most of a word that is repeated in an answer.
const REPEATED: usize = 60;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verb {
    Info,
    Stats,
    Stop,
    Kill,
    Reset,
    Pause,
    Resume,
    Log,
    Peek,
    Send,
    Resize,
    Attach,
}

impl Verb {
    /// The fields that go with it; none may be missing.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Log => &["console"],
            Self::Peek => &["console", "side"],
            Self::Send => &["console", "data"],
            Self::Resize => &["console", "rows", "columns"],
            Self::Attach => &["console", "mode", "rows", "columns"],
            _ => &[],
        }
    }

    /// Fields that may go with it.
    fn optional_fields(self) -> &'static [&'static str] {
        match self {
            Self::Stop => &["grace"],
            _ => &[],
        }
    }

    /// Whether a request of any version may say it.
    fn is_of_all_versions(self) -> bool {
        matches!(self, Self::Info | Self::Stop)
    }
}

/// What is wrong with a request, or became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The line is not a request.
    Syntax,
    /// It is one of a version that is not known here.
    Version,
    /// There is no such verb.
    Verb,
    /// There is no such field.
    Field,
    /// It is too long.
    Length,
    /// There is no such console.
    Console,
    /// Somebody else types on that console.
    Taken,
    /// Too many are asking at once.
    Busy,
    /// The client belongs to another user.
    Forbidden,
    /// The guest is about to end.
    Ending,
    /// It could not be done.
    Failed,
}

/// An answer that reports a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

impl Fault {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// A request, as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct Request {
    pub(crate) version: u64,
    #[serde(rename = "do")]
    pub(crate) verb: Verb,
    #[serde(flatten)]
    pub(crate) fields: Fields,
}

/// An answer, as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reply<T> {
    Ok(T),
    Error(Fault),
}

impl<T: Serialize> Reply<T> {
    /// Its line.
    pub(crate) fn line(&self) -> String {
        #[derive(Serialize)]
        struct Versioned<'a, R> {
            version: u64,
            #[serde(flatten)]
            reply: &'a R,
        }
        let line = serde_json::to_string(&Versioned { version: VERSION, reply: self });
        // Cannot fail: it is made of strings and numbers.
        line.unwrap_or_default() + "\n"
    }
}

/// Read a request.
///
/// # Errors
/// The answer to a malformed request.
pub(crate) fn parse(line: &[u8]) -> Result<(Verb, Fields), Fault> {
    let syntax = |text: &str| Fault::new(Kind::Syntax, text);
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
                Kind::Version,
                format!("version {version} is not known: this launcher speaks version {VERSION}"),
            )),
        };
    }
    let verb = verb.map_err(|_| {
        let text = "there are info, stats, stop, kill, reset, pause, resume, log, peek, \
                    send, resize and attach";
        Fault::new(Kind::Verb, format!("no verb {:?}: {text}", shortened(word)))
    })?;
    let fault = |text: String| Fault::new(Kind::Field, text);
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
