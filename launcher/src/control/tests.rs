//! The server with clients of all kinds, without a guest.

use std::io::{BufRead, BufReader, Read, Write};

use host::testing::until;
use serde_json::{Value, json};
use wire::protocol::LONGEST_LINE;

use super::*;
use crate::config::console::ConsoleConfig;
use crate::console;
use crate::observers::Observers;

struct ControlFixture {
    commands: Option<CommandQueue>,
    exit: Arc<Exit<Ending>>,
    server: Option<Server>,
    address: tempfile::TempDir,
}

impl ControlFixture {
    fn new() -> Self {
        let address = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(address.path().join("control")).unwrap();
        let exit = Arc::new(Exit::new().unwrap());
        let (commands, sender) = commands::new(&exit);
        let opened = console::open_all(&[ConsoleConfig::parsed("sock")]).unwrap();
        let consoles = opened.into_iter().map(|(console, _)| console).collect();
        let info = GuestInfo::example();
        let counts = Counts::new(Arc::new(Observers::new(1, None)));
        let (exit, snapshot_files) = (Arc::clone(&exit), Vec::new());
        let state = ControlState {
            exit: Arc::clone(&exit),
            info,
            counts,
            consoles,
            snapshot_files,
            sender,
        };
        let server = Server::start(listener, state).unwrap();
        Self { commands: Some(commands), exit, server: Some(server), address }
    }

    fn connect(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.address.path().join("control")).unwrap();
        BufReader::new(stream)
    }

    fn clients(&self) -> usize {
        self.server.as_ref().unwrap().clients.lock().len()
    }
}

fn say(client: &mut BufReader<UnixStream>, line: &str) {
    client.get_mut().write_all(line.as_bytes()).unwrap();
}

fn answer(client: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn ask(client: &mut BufReader<UnixStream>, line: &str) -> Value {
    say(client, &format!("{line}\n"));
    answer(client)
}

fn request(verb: &str) -> String {
    json!({ "version": 1, "do": verb }).to_string()
}

/// Whether the other end closes the connection for another reason than a timeout.
fn is_closed(client: &mut BufReader<UnixStream>) -> bool {
    client.get_ref().set_read_timeout(Some(connection::IDLE / 2)).unwrap();
    match client.read(&mut [0; 100]) {
        Ok(length) => length == 0,
        // Closing a connection with unread bytes resets it.
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn consoles_are_read_and_typed_on() {
    let fixture = ControlFixture::new();
    let mut client = fixture.connect();
    let request = |verb: &str, rest: &str| format!(r#"{{"version":1,"do":"{verb}",{rest}}}"#);
    // The data is "hi".
    let sent = ask(&mut client, &request("send", r#""console":0,"data":"aGk=""#));
    assert_eq!(sent["ok"], json!({ "taken": 2 }));
    for _ in 0..2 {
        let seen = ask(&mut client, &request("peek", r#""console":0,"side":"input""#));
        assert_eq!(seen["ok"], json!({ "data": "aGk=", "unread": 2 }));
    }
    let seen = ask(&mut client, &request("peek", r#""console":0,"side":"output""#));
    assert_eq!(seen["ok"], json!({ "data": "", "unread": 0, "dropped": 0 }));
    let log = ask(&mut client, &request("log", r#""console":0"#));
    assert_eq!(log["ok"], json!({ "data": "" }));
    for (line, kind) in [
        (request("log", r#""console":1"#), "console"),
        (request("send", r#""console":0,"data":"%""#), "field"),
        (request("resize", r#""console":0,"rows":0,"columns":80"#), "field"),
    ] {
        assert_eq!(ask(&mut client, &line)["error"]["kind"], kind, "{line}");
    }
}

#[test]
fn many_requests_go_through_one_connection() {
    let fixture = ControlFixture::new();
    let mut client = fixture.connect();
    for _ in 0..3 {
        let info = ask(&mut client, &request("info"));
        assert_eq!((&info["version"], &info["ok"]["name"]), (&json!(1), &json!("example")));
        assert_eq!(ask(&mut client, "rubbish")["error"]["kind"], "syntax");
        assert_eq!(ask(&mut client, &request("dance"))["error"]["kind"], "verb");
    }
    say(&mut client, &format!("{}\n{}\n", request("info"), request("info")));
    assert_eq!(answer(&mut client)["ok"]["state"], "running");
    assert_eq!(answer(&mut client)["ok"]["state"], "running");
}

/// The client has closed its end before the answer comes.
#[test]
fn a_client_that_leaves_before_the_answer_frees_the_console() {
    let fixture = ControlFixture::new();
    let attach = r#"{"version":1,"do":"attach","console":0,"mode":"write","rows":0,"columns":0}"#;
    let mut gone = fixture.connect();
    gone.get_ref().shutdown(Shutdown::Read).unwrap();
    say(&mut gone, &format!("{attach}\n"));
    let mut next = fixture.connect();
    // Connections are accepted one after the other.
    ask(&mut next, &request("info"));
    until("it has left", || fixture.clients() == 1);
    assert_eq!(ask(&mut next, attach)["ok"], json!({}));
}

#[test]
fn endings_of_clients_are_announced_to_the_exit() {
    let fixture = ControlFixture::new();
    let mut client = fixture.connect();
    let verbs = [("stop", Ending::Stopped), ("kill", Ending::Killed)];
    for (verb, ending) in verbs {
        assert_eq!(ask(&mut client, &request(verb)), json!({"version": 1, "ok": {}}));
        assert_eq!(fixture.exit.take(), Some(ending));
    }
    ask(&mut client, &request("reset"));
    assert!(matches!(fixture.exit.take(), Some(Ending::Reset(_))));
}

#[test]
fn the_main_thread_answers_a_command() {
    let fixture = ControlFixture::new();
    let mut client = fixture.connect();
    for (verb, command) in [("pause", "[Pause]"), ("resume", "[Resume]")] {
        for outcome in [Ok(()), Err("it hangs".to_string())] {
            say(&mut client, &format!("{}\n", request(verb)));
            let (commands, mut seen) = (fixture.commands.as_ref().unwrap(), Vec::new());
            let mut act = |command| {
                seen.push(command);
                outcome.clone()
            };
            // The main thread wakes up in the same way.
            until("it is asked for", || fixture.exit.was_woken());
            commands.run_pending(&mut act);
            assert_eq!(format!("{seen:?}"), command);
            let error = answer(&mut client)["error"]["text"].clone();
            assert_eq!(error, outcome.err().map_or(Value::Null, Value::from));
        }
    }
}

fn stop_with_grace(fixture: &ControlFixture, grace: u64) -> BufReader<UnixStream> {
    let mut client = fixture.connect();
    say(&mut client, &format!("{{\"version\":1,\"do\":\"stop\",\"grace\":{grace}}}\n"));
    until("the button is to be pressed", || fixture.exit.was_woken());
    let mut seen = Vec::new();
    fixture.commands.as_ref().unwrap().run_pending(|command| {
        seen.push(command);
        Ok(())
    });
    assert!(matches!(seen[..], [GuestCommand::PowerOff]));
    client
}

#[test]
fn a_guest_that_powers_off_in_time_is_not_stopped() {
    let mut fixture = ControlFixture::new();
    let mut client = stop_with_grace(&fixture, 3_600_000);
    fixture.exit.end(Ending::PoweredOff);

    drop(fixture.commands.take());

    assert_eq!(answer(&mut client), json!({"version": 1, "ok": {}}));
    assert_eq!(fixture.exit.take(), Some(Ending::PoweredOff));
}

#[test]
fn a_guest_that_exceeds_its_grace_is_stopped_before_the_answer() {
    let mut fixture = ControlFixture::new();
    let mut client = stop_with_grace(&fixture, 20);
    until("it is stopped", || fixture.exit.take() == Some(Ending::Stopped));
    client.get_ref().set_nonblocking(true).unwrap();
    assert!(client.fill_buf().is_err(), "answered before the guest's end");
    client.get_ref().set_nonblocking(false).unwrap();

    drop(fixture.commands.take());

    assert_eq!(answer(&mut client), json!({"version": 1, "ok": {}}));
}

/// The main thread may be busy, for example with a disk that hangs.
#[test]
fn the_grace_ends_while_the_main_thread_is_busy() {
    let fixture = ControlFixture::new();
    let mut client = fixture.connect();
    say(&mut client, "{\"version\":1,\"do\":\"stop\",\"grace\":20}\n");
    until("it is stopped", || fixture.exit.take() == Some(Ending::Stopped));
}

#[test]
fn half_a_line_has_no_effect_and_a_long_line_ends_the_connection() {
    let fixture = ControlFixture::new();
    let mut client = fixture.connect();
    say(&mut client, &request("stop"));
    client.get_ref().shutdown(Shutdown::Write).unwrap();
    assert!(is_closed(&mut client));
    assert_eq!(fixture.exit.take(), None);

    // A line of the greatest length is read, and is not a request.
    let mut client = fixture.connect();
    assert_eq!(ask(&mut client, &"x".repeat(LONGEST_LINE))["error"]["kind"], "syntax");
    assert_eq!(ask(&mut client, &"x".repeat(LONGEST_LINE + 1))["error"]["kind"], "length");
    assert!(is_closed(&mut client));
}

#[test]
fn the_deepest_json_fits_on_the_stack() {
    let fixture = ControlFixture::new();
    let mut client = fixture.connect();
    let deep = format!("{{\"a\":{}{}", "[".repeat(126), "]".repeat(126));
    assert_eq!(ask(&mut client, &format!("{deep}}}"))["error"]["kind"], "syntax");
    let deep = format!("{deep},\"version\":1,\"do\":\"info\"}}");
    assert_eq!(ask(&mut client, &deep)["error"]["kind"], "field");
}

#[test]
fn too_many_connections_are_refused_until_others_leave() {
    let fixture = ControlFixture::new();
    let clients: Vec<_> = (0..MAX_CONNECTIONS).map(|_| fixture.connect()).collect();
    let mut one_more = fixture.connect();
    assert_eq!(answer(&mut one_more)["error"]["kind"], "busy");
    assert!(is_closed(&mut one_more));
    assert_eq!(fixture.clients(), MAX_CONNECTIONS);
    drop(clients);
    until("all have left", || fixture.clients() == 0);
    let mut client = fixture.connect();
    assert!(ask(&mut client, &request("info"))["ok"].is_object());
}

#[test]
fn the_end_waits_for_nobody() {
    let mut fixture = ControlFixture::new();
    let mut silent = fixture.connect();
    let mut waiting = fixture.connect();
    say(&mut waiting, &format!("{}\n", request("pause")));
    let mut deaf = fixture.connect();
    let line = format!("{}\n", request("info"));
    // The client reads no answer, and sends requests until the socket is full.
    deaf.get_ref().set_nonblocking(true).unwrap();
    until("its answers fill the socket", || deaf.get_mut().write(line.as_bytes()).is_err());
    until("all are served", || fixture.clients() == 3);

    drop(fixture.commands.take());
    drop(fixture.server.take());
    assert_eq!(answer(&mut waiting)["error"]["kind"], "ending");
    assert!(is_closed(&mut silent) && is_closed(&mut waiting));
    assert!(UnixStream::connect(fixture.address.path().join("control")).is_err());
}
