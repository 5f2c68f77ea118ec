//! Requests that are parsed and refused, and answers.

use super::*;

fn kind(line: &str) -> FaultKind {
    parse(line.as_bytes()).unwrap_err().kind
}

#[test]
fn every_verb_is_parsed() {
    use Verb::{Info, Kill, Pause, Reset, Resume, Stats, Stop};
    for verb in [Info, Stats, Stop, Kill, Reset, Pause, Resume] {
        let none = Fields::default();
        let line = ControlRequest::new(verb, none.clone()).line();
        assert_eq!(parse(line.as_bytes()), Ok((verb, none)), "{line}");
    }
}

#[test]
fn a_line_that_is_not_a_request_is_a_syntax_fault() {
    let deep = "[".repeat(10_000);
    let lines = ["", " ", "info", "{", "[]", "1", "null", "{}", "\0", "\"do\"", &deep];
    for line in lines {
        assert_eq!(kind(line), FaultKind::Syntax, "{line:.80}");
    }
    for line in [r#"{"version":1}"#, r#"{"version":1,"do":7}"#, r#"{"do":"info"}"#] {
        assert_eq!(kind(line), FaultKind::Syntax, "{line}");
    }
    assert_eq!(kind(r#"{"version":"1","do":"info"}"#), FaultKind::Syntax);
    assert_eq!(parse(b"\xff\xfe{}").unwrap_err().kind, FaultKind::Syntax);
}

#[test]
fn every_version_may_ask_for_info_and_a_stop() {
    assert_eq!(
        parse(br#"{"version":99,"do":"info","with":[1]}"#),
        Ok((Verb::Info, Fields::default()))
    );
    assert_eq!(parse(br#"{"version":0,"do":"stop"}"#), Ok((Verb::Stop, Fields::default())));
    assert_eq!(kind(r#"{"version":99,"do":"kill"}"#), FaultKind::Version);
    assert_eq!(kind(r#"{"version":2,"do":"dance"}"#), FaultKind::Version);
    let fault = parse(br#"{"version":2,"do":"pause"}"#).unwrap_err();
    assert!(fault.text.contains("version 2") && fault.text.contains("version 1"), "{fault:?}");
}

#[test]
fn an_unknown_verb_or_field_is_named() {
    let fault = parse(br#"{"version":1,"do":"dance"}"#).unwrap_err();
    assert_eq!(
        (fault.kind, fault.text.contains("\"dance\"")),
        (FaultKind::Verb, true),
        "{fault:?}"
    );
    let fault = parse(br#"{"version":1,"do":"stop","hard":true}"#).unwrap_err();
    assert_eq!(
        (fault.kind, fault.text.contains("\"hard\"")),
        (FaultKind::Field, true),
        "{fault:?}"
    );
    let long = format!(r#"{{"version":1,"do":"{}"}}"#, "x".repeat(60_000));
    assert!(parse(long.as_bytes()).unwrap_err().text.len() < 200);
}

#[test]
fn each_verb_has_its_own_fields() {
    let (verb, fields) = parse(br#"{"version":1,"do":"peek","console":1,"side":"input"}"#).unwrap();
    assert_eq!(verb, Verb::Peek);
    assert_eq!((fields.console, fields.side), (Some(ConsoleId::Number(1)), Some(Side::Input)));
    let (_, fields) = parse(br#"{"version":1,"do":"log","console":"shell"}"#).unwrap();
    assert_eq!(fields.console, Some(ConsoleId::Name("shell".into())));
    for (line, named) in [
        (r#"{"version":1,"do":"log"}"#, "console"),
        (r#"{"version":1,"do":"log","console":-1}"#, "-1"),
        (r#"{"version":1,"do":"log","console":null}"#, "no \"console\""),
        (r#"{"version":1,"do":"log","console":[0]}"#, "[0]"),
        (r#"{"version":1,"do":"peek","console":0,"side":"inside"}"#, "inside"),
        (r#"{"version":1,"do":"send","console":0,"data":7}"#, "7"),
        (r#"{"version":1,"do":"resize","console":0,"rows":1,"columns":70000}"#, "70000"),
        (r#"{"version":1,"do":"kill","grace":5000}"#, "grace"),
        (r#"{"version":1,"do":"stop","grace":"5s"}"#, "5s"),
        (r#"{"version":1,"do":"pause","console":0}"#, "console"),
        (r#"{"version":1,"do":"stats","queue":"con0-tx"}"#, "queue"),
    ] {
        let fault = parse(line.as_bytes()).unwrap_err();
        assert_eq!((fault.kind, fault.text.contains(named)), (FaultKind::Field, true), "{fault:?}");
    }
}

#[test]
fn the_grace_of_a_stop_is_optional() {
    let parsed = |line: &str| parse(line.as_bytes()).unwrap();
    assert_eq!(parsed(r#"{"version":1,"do":"stop"}"#), (Verb::Stop, Fields::default()));
    let (verb, fields) = parsed(r#"{"version":1,"do":"stop","grace":5000}"#);
    assert_eq!((verb, fields.grace), (Verb::Stop, Some(5000)));
    // The fields of an unknown version are ignored.
    let of_another = parsed(r#"{"version":7,"do":"stop","grace":5000}"#);
    assert_eq!(of_another, (Verb::Stop, Fields::default()));
}

#[test]
fn an_answer_is_one_line() {
    let line = Reply::Ok(["a\nb"]).line();
    assert_eq!(line, "{\"version\":1,\"ok\":[\"a\\nb\"]}\n");
    let line = Reply::<()>::Error(Fault::new(FaultKind::Busy, "later")).line();
    assert_eq!(line, "{\"version\":1,\"error\":{\"kind\":\"busy\",\"text\":\"later\"}}\n");
}
