//! What is said on a control socket: one JSON object a line, in both directions.
//! docs/control.md is its description. Used by both ends, [`super`] and
//! [`crate::client`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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

/// What goes with a verb; which, [`Verb::fields`] says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    /// Which console: hvcN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) console: Option<usize>,
    /// Which of its sides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) side: Option<Side>,
    /// Bytes, as base64 (RFC 4648, 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
    /// How to sit at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<u16>,
}

/// How to sit at a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// And type, if no other client does.
    Write,
    /// And type; another client that does has to leave.
    Force,
    /// And look on.
    Watch,
}

/// The sides of a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// What was typed and the guest has not read.
    Input,
    /// What the guest has printed and nobody has read.
    Output,
}

impl Verb {
    /// All fields that go with it; none may be missing.
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

    /// Whether a request of any version may say it.
    fn is_of_all_versions(self) -> bool {
        matches!(self, Self::Info | Self::Stop)
    }
}

/// What is wrong with a request, or became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// It is no request.
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
    /// Whoever asks is somebody else.
    Forbidden,
    /// The guest is about to end.
    Ending,
    /// It could not be done.
    Failed,
}

/// An answer that is none.
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
/// The answer to what is none.
pub(crate) fn parse(line: &[u8]) -> Result<(Verb, Fields), Fault> {
    let syntax = |text: &str| Fault::new(Kind::Syntax, text);
    let request: Map<String, Value> = serde_json::from_slice(line)
        .map_err(|error| syntax(&format!("this is no JSON object: {error}")))?;
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
        let text = "there are info, stop, kill, reset, pause, resume, log, peek, send, \
                    resize and attach";
        Fault::new(Kind::Verb, format!("no verb {:?}: {text}", shortened(word)))
    })?;
    let fault = |text: String| Fault::new(Kind::Field, text);
    let known = |field: &str| ["version", "do"].contains(&field) || verb.fields().contains(&field);
    let there = || {
        let fields = ["version", "do"].iter().chain(verb.fields());
        fields.map(|field| format!("{field:?}")).collect::<Vec<_>>().join(", ")
    };
    if let Some(field) = request.keys().find(|field| !known(field)) {
        return Err(fault(format!("no field {:?}: there are {}", shortened(field), there())));
    }
    if let Some(field) = verb.fields().iter().find(|field| !request.contains_key(**field)) {
        return Err(fault(format!("there is no {field:?}: it takes {}", there())));
    }
    let fields = serde_json::from_value(Value::Object(request));
    Ok((verb, fields.map_err(|error| fault(error.to_string()))?))
}

fn shortened(word: &str) -> String {
    word.chars().take(REPEATED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(line: &str) -> Kind {
        parse(line.as_bytes()).unwrap_err().kind
    }

    #[test]
    fn every_verb_is_read() {
        let verbs = [Verb::Info, Verb::Stop, Verb::Kill, Verb::Reset, Verb::Pause, Verb::Resume];
        for verb in verbs {
            let none = Fields::default();
            let request = Request { version: VERSION, verb, fields: none.clone() };
            let line = serde_json::to_string(&request).unwrap();
            assert_eq!(parse(line.as_bytes()), Ok((verb, none)), "{line}");
        }
    }

    #[test]
    fn what_is_no_request_is_told_so() {
        let deep = "[".repeat(10_000);
        let lines = ["", " ", "info", "{", "[]", "1", "null", "{}", "\0", "\"do\"", &deep];
        for line in lines {
            assert_eq!(kind(line), Kind::Syntax, "{line:.80}");
        }
        for line in [r#"{"version":1}"#, r#"{"version":1,"do":7}"#, r#"{"do":"info"}"#] {
            assert_eq!(kind(line), Kind::Syntax, "{line}");
        }
        assert_eq!(kind(r#"{"version":"1","do":"info"}"#), Kind::Syntax);
        assert_eq!(parse(b"\xff\xfe{}").unwrap_err().kind, Kind::Syntax);
    }

    #[test]
    fn every_version_may_ask_for_info_and_a_stop() {
        assert_eq!(
            parse(br#"{"version":99,"do":"info","with":[1]}"#),
            Ok((Verb::Info, Fields::default()))
        );
        assert_eq!(parse(br#"{"version":0,"do":"stop"}"#), Ok((Verb::Stop, Fields::default())));
        assert_eq!(kind(r#"{"version":99,"do":"kill"}"#), Kind::Version);
        assert_eq!(kind(r#"{"version":2,"do":"dance"}"#), Kind::Version);
        let fault = parse(br#"{"version":2,"do":"pause"}"#).unwrap_err();
        assert!(fault.text.contains("version 2") && fault.text.contains("version 1"), "{fault:?}");
    }

    #[test]
    fn what_is_not_known_is_named() {
        let fault = parse(br#"{"version":1,"do":"dance"}"#).unwrap_err();
        assert_eq!((fault.kind, fault.text.contains("\"dance\"")), (Kind::Verb, true), "{fault:?}");
        let fault = parse(br#"{"version":1,"do":"stop","hard":true}"#).unwrap_err();
        assert_eq!((fault.kind, fault.text.contains("\"hard\"")), (Kind::Field, true), "{fault:?}");
        let long = format!(r#"{{"version":1,"do":"{}"}}"#, "x".repeat(60_000));
        assert!(parse(long.as_bytes()).unwrap_err().text.len() < 200);
    }

    #[test]
    fn fields_go_with_their_verbs() {
        let (verb, fields) =
            parse(br#"{"version":1,"do":"peek","console":1,"side":"input"}"#).unwrap();
        assert_eq!(verb, Verb::Peek);
        assert_eq!((fields.console, fields.side), (Some(1), Some(Side::Input)));
        for (line, named) in [
            (r#"{"version":1,"do":"log"}"#, "console"),
            (r#"{"version":1,"do":"log","console":-1}"#, "-1"),
            (r#"{"version":1,"do":"peek","console":0,"side":"inside"}"#, "inside"),
            (r#"{"version":1,"do":"send","console":0,"data":7}"#, "7"),
            (r#"{"version":1,"do":"resize","console":0,"rows":1,"columns":70000}"#, "70000"),
            (r#"{"version":1,"do":"pause","console":0}"#, "console"),
        ] {
            let fault = parse(line.as_bytes()).unwrap_err();
            assert_eq!((fault.kind, fault.text.contains(named)), (Kind::Field, true), "{fault:?}");
        }
    }

    #[test]
    fn an_answer_is_one_line() {
        let line = Reply::Ok(["a\nb"]).line();
        assert_eq!(line, "{\"version\":1,\"ok\":[\"a\\nb\"]}\n");
        let line = Reply::<()>::Error(Fault::new(Kind::Busy, "later")).line();
        assert_eq!(line, "{\"version\":1,\"error\":{\"kind\":\"busy\",\"text\":\"later\"}}\n");
    }
}
