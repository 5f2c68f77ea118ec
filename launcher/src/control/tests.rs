//! The server with clients of all kinds, without a guest.

use std::io::{BufRead, BufReader, Read, Write};

use host::testing::until;
use serde_json::{Value, json};
use wire::protocol::LONGEST_LINE;

use super::*;
use crate::config::console::ConsoleConfig;
use crate::console;
use crate::observers::Observers;

struct Setting {
    orders: Option<Orders>,
    exit: Arc<Exit<Ending>>,
    server: Option<Server>,
    address: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let address = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(address.path().join("control")).unwrap();
        let exit = Arc::new(Exit::new().unwrap());
        let (orders, reins) = orders::new(&exit);
        let opened = console::open_all(&[ConsoleConfig::parsed("sock")]).unwrap();
        let consoles = opened.into_iter().map(|(console, _)| console).collect();
        let machine = Machine::example();
        let counts = Counts::new(Arc::new(Observers::new(1, None)));
        let office = Office { exit: Arc::clone(&exit), machine, counts, consoles, reins };
        let server = Server::start(listener, office).unwrap();
        Self { orders: Some(orders), exit, server: Some(server), address }
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

/// Whether the other end closes it, and not because nothing was said for too long.
fn is_closed(client: &mut BufReader<UnixStream>) -> bool {
    client.get_ref().set_read_timeout(Some(connection::IDLE / 2)).unwrap();
    match client.read(&mut [0; 100]) {
        Ok(length) => length == 0,
        // What had not been read when it was closed makes that a reset.
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn consoles_are_looked_at_and_typed_into() {
    let setting = Setting::new();
    let mut client = setting.connect();
    let request = |verb: &str, rest: &str| format!(r#"{{"version":1,"do":"{verb}",{rest}}}"#);
    // "hi", and nothing.
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
    let setting = Setting::new();
    let mut client = setting.connect();
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

/// Nobody is there to read its answer.
#[test]
fn who_leaves_before_the_answer_leaves_a_free_seat() {
    let setting = Setting::new();
    let attach = r#"{"version":1,"do":"attach","console":0,"mode":"write","rows":0,"columns":0}"#;
    let mut gone = setting.connect();
    gone.get_ref().shutdown(Shutdown::Read).unwrap();
    say(&mut gone, &format!("{attach}\n"));
    let mut next = setting.connect();
    // They are accepted one after the other.
    ask(&mut next, &request("info"));
    until("it has left", || setting.clients() == 1);
    assert_eq!(ask(&mut next, attach)["ok"], json!({}));
}

#[test]
fn endings_are_announced_where_all_endings_are() {
    let setting = Setting::new();
    let mut client = setting.connect();
    let verbs = [("stop", Ending::Stopped), ("kill", Ending::Killed)];
    for (verb, ending) in verbs {
        assert_eq!(ask(&mut client, &request(verb)), json!({"version": 1, "ok": {}}));
        assert_eq!(setting.exit.take(), Some(ending));
    }
    ask(&mut client, &request("reset"));
    assert!(matches!(setting.exit.take(), Some(Ending::Reset(_))));
}

#[test]
fn an_order_is_answered_by_who_carries_it_out() {
    let setting = Setting::new();
    let mut client = setting.connect();
    for (verb, order) in [("pause", Order::Pause), ("resume", Order::Resume)] {
        for outcome in [Ok(()), Err("it hangs".to_string())] {
            say(&mut client, &format!("{}\n", request(verb)));
            let (orders, mut seen) = (setting.orders.as_ref().unwrap(), Vec::new());
            let mut act = |order| {
                seen.push(order);
                outcome.clone()
            };
            // Woken up, as the main thread is.
            until("it is asked for", || setting.exit.was_woken());
            orders.obey(&mut act);
            assert_eq!(seen, [order]);
            let error = answer(&mut client)["error"]["text"].clone();
            assert_eq!(error, outcome.err().map_or(Value::Null, Value::from));
        }
    }
}

fn stop_with_grace(setting: &Setting, grace: u64) -> BufReader<UnixStream> {
    let mut client = setting.connect();
    say(&mut client, &format!("{{\"version\":1,\"do\":\"stop\",\"grace\":{grace}}}\n"));
    until("the button is to be pressed", || setting.exit.was_woken());
    let mut seen = Vec::new();
    setting.orders.as_ref().unwrap().obey(|order| {
        seen.push(order);
        Ok(())
    });
    assert_eq!(seen, [Order::PowerOff]);
    client
}

#[test]
fn a_guest_that_switches_itself_off_in_time_is_not_stopped() {
    let mut setting = Setting::new();
    let mut client = stop_with_grace(&setting, 3_600_000);
    setting.exit.end(Ending::PoweredOff);

    drop(setting.orders.take());

    assert_eq!(answer(&mut client), json!({"version": 1, "ok": {}}));
    assert_eq!(setting.exit.take(), Some(Ending::PoweredOff));
}

#[test]
fn a_guest_whose_time_has_run_out_is_stopped_and_then_it_is_answered() {
    let mut setting = Setting::new();
    let mut client = stop_with_grace(&setting, 20);
    until("it is stopped", || setting.exit.take() == Some(Ending::Stopped));
    client.get_ref().set_nonblocking(true).unwrap();
    assert!(client.fill_buf().is_err(), "answered before the guest's end");
    client.get_ref().set_nonblocking(false).unwrap();

    drop(setting.orders.take());

    assert_eq!(answer(&mut client), json!({"version": 1, "ok": {}}));
}

/// The main thread waits for a disk that hangs, say.
#[test]
fn time_runs_out_also_while_nobody_can_press_the_button() {
    let setting = Setting::new();
    let mut client = setting.connect();
    say(&mut client, "{\"version\":1,\"do\":\"stop\",\"grace\":20}\n");
    until("it is stopped", || setting.exit.take() == Some(Ending::Stopped));
}

#[test]
fn half_a_line_is_no_request_and_a_long_one_is_the_last() {
    let setting = Setting::new();
    let mut client = setting.connect();
    say(&mut client, &request("stop"));
    client.get_ref().shutdown(Shutdown::Write).unwrap();
    assert!(is_closed(&mut client));
    assert_eq!(setting.exit.take(), None);

    // The longest there may be is read, and is rubbish.
    let mut client = setting.connect();
    assert_eq!(ask(&mut client, &"x".repeat(LONGEST_LINE))["error"]["kind"], "syntax");
    assert_eq!(ask(&mut client, &"x".repeat(LONGEST_LINE + 1))["error"]["kind"], "length");
    assert!(is_closed(&mut client));
}

#[test]
fn the_deepest_json_fits_on_the_stack() {
    let setting = Setting::new();
    let mut client = setting.connect();
    let deep = format!("{{\"a\":{}{}", "[".repeat(126), "]".repeat(126));
    assert_eq!(ask(&mut client, &format!("{deep}}}"))["error"]["kind"], "syntax");
    let deep = format!("{deep},\"version\":1,\"do\":\"info\"}}");
    assert_eq!(ask(&mut client, &deep)["error"]["kind"], "field");
}

#[test]
fn those_that_are_too_many_are_told_and_places_are_free_again() {
    let setting = Setting::new();
    let clients: Vec<_> = (0..MOST).map(|_| setting.connect()).collect();
    let mut one_more = setting.connect();
    assert_eq!(answer(&mut one_more)["error"]["kind"], "busy");
    assert!(is_closed(&mut one_more));
    assert_eq!(setting.clients(), MOST);
    drop(clients);
    until("all have left", || setting.clients() == 0);
    let mut client = setting.connect();
    assert!(ask(&mut client, &request("info"))["ok"].is_object());
}

#[test]
fn the_end_waits_for_nobody() {
    let mut setting = Setting::new();
    let mut silent = setting.connect();
    let mut waiting = setting.connect();
    say(&mut waiting, &format!("{}\n", request("pause")));
    let mut deaf = setting.connect();
    let line = format!("{}\n", request("info"));
    // It reads no answer, and asks until nothing goes in any more.
    deaf.get_ref().set_nonblocking(true).unwrap();
    until("its answers fill the socket", || deaf.get_mut().write(line.as_bytes()).is_err());
    until("all are served", || setting.clients() == 3);

    drop(setting.orders.take());
    drop(setting.server.take());
    assert_eq!(answer(&mut waiting)["error"]["kind"], "ending");
    assert!(is_closed(&mut silent) && is_closed(&mut waiting));
    assert!(UnixStream::connect(setting.address.path().join("control")).is_err());
}
