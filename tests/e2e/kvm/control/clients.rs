//! Clients that break the protocol, and clients of other versions.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::Value;
use tests::{End, Held, Running, is_root, until};

use super::{hello, named, state};

fn connect(running: &Running) -> UnixStream {
    UnixStream::connect(running.runtime().join("lguest/one/control")).unwrap()
}

fn ask(running: &Running, line: &str) -> Value {
    let mut client = connect(running);
    // A refused client is disconnected at once, perhaps before it has written everything.
    let _ = client.write_all(format!("{line}\n").as_bytes());
    let mut answer = String::new();
    BufReader::new(client).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn a_thousand_malformed_clients_leak_nothing() {
    let mut running = named().on_terminal();
    hello(&mut running);
    let before = Held::at_rest(running.process());
    let memory = running.process().memory_beyond_guest();
    let kinds: [&[u8]; 7] = [
        b"",
        b"{\"version\":1,\"do\":\"stop\"}",
        b"{\"version\":1,\"do\":\"info\"}\n{\"version\":1,\"do\":\"kil",
        b"\n\n\0\xff\xfe\n}{\n",
        b"GET / HTTP/1.1\r\n\r\n",
        &[b'['; 60_000],
        &[b'x'; 70_000],
    ];
    for number in 0..1000 {
        let mut client = connect(&running);
        // Refused and disconnected clients cannot write everything.
        let written = client.write_all(kinds[number % kinds.len()]);
        if number % 3 == 0 && written.is_ok() {
            let _ = client.shutdown(std::net::Shutdown::Write);
            let _ = client.read_to_end(&mut Vec::new());
        }
    }
    before.assert_again(running.process());
    let grown = running.process().memory_beyond_guest().saturating_sub(memory);
    assert!(grown < 2048, "{grown} KiB more than before");
    assert_eq!(state(&running), "running");
    running.send("alive");
    running.expect("alive");
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    assert_eq!(running.stderr(), "");
}

#[test]
fn silent_clients_delay_neither_the_guest_nor_its_end() {
    let mut running = named().on_terminal();
    hello(&mut running);
    let silent: Vec<_> = (0..32).map(|_| connect(&running)).collect();
    let threads = || {
        let threads = running.process().threads();
        threads.into_iter().filter(|name| name == "client").count()
    };
    until("all connections are served", || (threads() == 32).then_some(()));
    assert_eq!(ask(&running, r#"{"version":1,"do":"info"}"#)["error"]["kind"], "busy");
    let line = running.lguest(&["stop", "one"]).one_line();
    assert!(line.contains("too many are connected"), "{line}");

    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    running.assert_nothing_left();
    for mut client in silent {
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}

#[test]
fn clients_of_other_versions_can_use_info_and_stop() {
    let mut running = named().on_terminal();
    hello(&mut running);
    let answer = ask(&running, r#"{"version":99,"do":"pause"}"#);
    assert_eq!(answer["error"]["kind"], "version");
    assert_eq!(state(&running), "running");
    let answer = ask(&running, r#"{"version":99,"do":"info","more":true}"#);
    assert_eq!((&answer["version"], &answer["ok"]["name"]), (&1.into(), &"one".into()));
    let answer = ask(&running, r#"{"version":1,"do":"dance"}"#);
    assert_eq!(answer["error"]["kind"], "verb");
    assert_eq!(ask(&running, r#"{"version":7,"do":"stop"}"#)["ok"], serde_json::json!({}));
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn other_users_cannot_reach_the_control_socket() {
    let mut running = named().on_terminal();
    hello(&mut running);
    let mode = |path: &str| {
        let metadata = std::fs::metadata(running.runtime().join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!([mode("lguest"), mode("lguest/one")], [0o700; 2]);
    assert_eq!([mode("lguest/one/control"), mode("lguest/one/lock")], [0o600; 2]);
}

#[test]
fn another_user_on_the_control_socket_is_refused() {
    if !is_root("being another user") {
        return;
    }
    let mut running = named().on_terminal();
    hello(&mut running);
    // Open the permissions of all directories and of the socket.
    for path in ["", "lguest", "lguest/one", "lguest/one/control"] {
        let permissions = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(running.runtime().join(path), permissions).unwrap();
    }
    let script = r#"
        $SIG{PIPE} = 'IGNORE'; # It may be sent away before it has asked.
        my $socket = IO::Socket::UNIX->new($ARGV[0]) or die "$!";
        print $socket qq({"version":1,"do":"stop"}
);
        print <$socket>;
    "#;
    let say_stop = |user: &str| {
        let output = Command::new("setpriv")
            .args([&format!("--reuid={user}"), "--clear-groups", "perl", "-MIO::Socket::UNIX"])
            .args(["-e", script])
            .arg(running.runtime().join("lguest/one/control"))
            .output();
        let answer = String::from_utf8(output.unwrap().stdout).unwrap();
        serde_json::from_str::<Value>(&answer).unwrap()
    };
    assert_eq!(say_stop("65534")["error"]["kind"], "forbidden");
    assert_eq!(say_stop("0")["ok"], serde_json::json!({}));
    assert_eq!(running.wait(), End::Status(0));
}
