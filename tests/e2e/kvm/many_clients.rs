//! Clients that attach and leave: thousands in turn, and dozens at once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::{End, Held, Pty, Running, environment, program, until};

use super::client::Client;
use super::{consoles, probe, wait_for_all};

/// The number of consoles of the guests here. Only users of `lguest console` attach to the last
/// one.
const CONSOLES: usize = 5;
const USERS: usize = CONSOLES - 1;

/// The escape key, ^].
const ESCAPE: u8 = 0x1d;

fn crowded() -> Running {
    let running = consoles("crowd", CONSOLES).piped();
    wait_for_all(running.runtime(), "crowd", CONSOLES);
    running
}

/// Connects, and leaves in one of nine ways. An error comes from the launcher: too many clients, or
/// another client types there.
fn stay(runtime: &Path, number: usize) -> io::Result<()> {
    let (console, mut client) = (number % USERS, Client::below(runtime, "crowd")?);
    let mode = ["watch", "write", "force"][number / 9 % 3];
    match number % 9 {
        // The client leaves before it has sent a request.
        0 => {}
        1 => client.write(b"GET / HTTP/1.1\r\n\0\xff\n")?,
        2 => client.write(b"{\"version\":1,\"do\":\"attach\",\"conso")?,
        3 => client.write(b"{\"version\":1,\"do\":\"attach\",\"console\":1}\n")?,
        // The client leaves without a frame after a request, and after typing.
        4 => client.attach(console, mode)?,
        5 => {
            client.attach(console, mode)?;
            client.write_frame(b'd', b"some words ")?;
        }
        // The client leaves in the middle of a frame, and after a malformed one.
        6 => {
            client.attach(console, mode)?;
            client.write(b"d\xff\0\0\0half a")?;
        }
        7 => {
            client.attach(console, mode)?;
            client.write_frame(b'?', b"what is that")?;
            while client.read_frame().is_ok() {}
        }
        // The client leaves in the normal way.
        _ => {
            client.attach(console, mode)?;
            client.hush();
            while client.read_frame().is_ok() {}
        }
    }
    Ok(())
}

/// Runs [`stay`] from several threads, and returns how often it succeeded.
fn stays(runtime: &Path, count: usize) -> usize {
    const AT_ONCE: usize = 8;
    let some = |first| {
        let numbers = (first..count).step_by(AT_ONCE);
        numbers.filter(|number| stay(runtime, *number).is_ok()).count()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|first| scope.spawn(move || some(first))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// Runs `lguest console` on a terminal, and ends it by the escape key or a signal.
fn real_stays(runtime: &Path, count: usize) {
    let runtime = format!("XDG_RUNTIME_DIR={}", runtime.display());
    let launcher = environment::launcher();
    let (launcher, console) = (launcher.to_str().unwrap(), USERS.to_string());
    // The previous client may still be attached for a moment.
    let words = ["env", &runtime, launcher, "console", "crowd", &console, "--force"];
    for number in 0..count {
        let mut user = program(&words, &PathBuf::from("/"), Pty::new(30, 100));
        user.expect_stderr("attached");
        if number % 2 == 0 {
            user.process().signal(Signal::SIGKILL);
            assert_eq!(user.wait(), End::Killed(9));
        } else {
            user.press(ESCAPE);
            assert_eq!(user.wait(), End::Status(0));
            user.assert_terminal_restored();
        }
    }
}

/// Asserts that the guest reads and prints on each of its consoles.
fn assert_alive(running: &Running) {
    for console in 0..CONSOLES {
        let mut client = Client::of(running, "crowd");
        assert_eq!(client.send(console, b"alive"), 5);
        until("the text is echoed", || client.log(console).ends_with(b"alive").then_some(()));
    }
}

#[test]
fn ten_thousand_clients_that_attach_and_leave_leak_nothing() {
    let running = crowded();
    let runtime = running.runtime();
    let files = || tests::files::below(&runtime.join("lguest/crowd"));
    let none = || running.process().thread("client").is_none().then_some(());
    until("no client is connected", none);
    let (before, files_before) = (Held::at_rest(running.process()), files());
    // This allocates everything that is only allocated once.
    stays(runtime, 1000);
    until("no client is connected", none);
    let memory = running.process().memory_beyond_guest();

    let count = environment::stays();
    let granted = thread::scope(|scope| {
        scope.spawn(|| real_stays(runtime, count / 50));
        stays(runtime, count)
    });
    assert!(granted > count / 2, "{granted} of {count} were granted: nothing is tested");
    before.assert_again(running.process());
    let grown = running.process().memory_beyond_guest().saturating_sub(memory);
    assert!(grown < 2048, "{grown} KiB more than before");
    assert_eq!(files(), files_before);
    assert_alive(&running);
}

#[test]
fn a_failed_attach_to_a_missing_console_leaks_nothing() {
    let running = crowded();
    until("no client is connected", || running.process().thread("client").is_none().then_some(()));
    let before = Held::at_rest(running.process());
    let consoles =
        || Client::of(&running, "crowd").ask(json!({ "do": "info" }))["consoles"].clone();
    let known = consoles();
    for number in 0..1000 {
        if number % 10 == 0 {
            let line = running.lguest(&["console", "crowd", "77"]).one_line();
            assert_eq!(line, "lguest: guest crowd: no console 77: there are 0 to 4\n");
        } else {
            let refused = Client::of(&running, "crowd").attach(77, "force").unwrap_err();
            assert_eq!(refused.to_string(), "no console 77: there are 0 to 4");
        }
    }
    before.assert_again(running.process());
    assert_eq!(consoles(), known);
}

/// There are more attached clients than the limit for connections with requests.
#[test]
fn attached_clients_do_not_block_control_requests() {
    let running = crowded();
    let mut seated: Vec<_> = (0..256)
        .map(|number| {
            let mut client = Client::of(&running, "crowd");
            client.attach(number % CONSOLES, "watch").unwrap();
            client
        })
        .collect();
    let refused = Client::of(&running, "crowd").attach(0, "watch").unwrap_err();
    assert_eq!(refused.to_string(), "too many sit at its consoles");
    assert_alive(&running);
    for (number, client) in seated.iter_mut().enumerate() {
        let hello = format!("hello {}\n", number % CONSOLES);
        let said = client.read_until(b"alive").unwrap();
        // The first client has read the greeting, which is then not new to the others.
        assert!(said == b"alive" || said == format!("{hello}alive").as_bytes(), "{said:?}");
    }
    // One client leaves, and another attaches.
    drop(seated.pop());
    until("a client can attach again", || Client::of(&running, "crowd").attach(0, "watch").ok());
}

/// The guest does not read its second console.
#[test]
fn a_client_that_leaves_before_the_guest_has_read_frees_its_console() {
    let launch = probe("console").option("--name=crowd").option("--console=sock");
    let running = launch.option("--console=sock").piped();
    until("the guest has printed", || {
        (running.lguest(&["log", "crowd"]).stdout == "hello 80x24\n").then_some(())
    });
    until("no client is connected", || running.process().thread("client").is_none().then_some(()));
    let before = Held::at_rest(running.process());
    for stays in [false, true] {
        let mut client = Client::of(&running, "crowd");
        client.attach(1, "write").unwrap();
        // This is more than there is room for.
        client.write_frame(b'd', &[b'x'; 600 << 10]).unwrap();
        until("the console has no room for input", || {
            (Client::of(&running, "crowd").send(1, b"y") == 0).then_some(())
        });
        // Once the connection is closed, and once only its writing side.
        client.hush();
        let _client = stays.then_some(client);
        before.assert_again(running.process());
    }
    let unread = running.lguest(&["peek", "crowd", "1", "--input"]).well();
    // A y may have been typed before.
    assert!(unread.contains("xxx"), "nothing was typed");
}

#[test]
fn a_launcher_ends_while_clients_attach_and_leave() {
    for round in 0..environment::stops() {
        let mut running = crowded();
        let runtime = running.runtime().to_path_buf();
        let (over, came, mut why) = (AtomicBool::new(false), AtomicUsize::new(0), "");
        let mut witness = Client::of(&running, "crowd");
        witness.attach(0, "watch").unwrap();
        let come_and_go = |first| {
            for number in (first..).step_by(50).take_while(|_| !over.load(Ordering::Acquire)) {
                let _ = stay(&runtime, number);
                came.fetch_add(1, Ordering::AcqRel);
            }
        };
        thread::scope(|scope| {
            let come_and_go = &come_and_go;
            for first in 0..50 {
                scope.spawn(move || come_and_go(first));
            }
            until("200 clients came and left", || {
                (came.load(Ordering::Acquire) > 200).then_some(())
            });
            let (expected, reason) = end(&running, round);
            let end = running.wait();
            over.store(true, Ordering::Release);
            assert_eq!(end, expected);
            why = reason;
        });
        running.assert_nothing_left();
        let last = std::iter::from_fn(|| witness.read_frame().ok()).last();
        assert_eq!(last, Some((b'e', [&[0], why.as_bytes()].concat())), "round {round}");
    }
}

/// Ends the guest in one of several ways. Returns how its launcher ends, and what its clients read.
fn end(running: &Running, round: usize) -> (End, &'static str) {
    match round % 3 {
        0 => {
            // There may be too many clients at this moment.
            until("the launcher accepts the request", || {
                (running.lguest(&["stop", "crowd"]).status == Some(0)).then_some(())
            });
            (End::Status(0), "stopped by `lguest stop`")
        }
        1 => {
            running.process().signal(Signal::SIGTERM);
            (End::Status(143), "signal 15: guest stopped")
        }
        _ => {
            until("the launcher accepts the request", || {
                let mut client = Client::of(running, "crowd");
                let request = json!({ "do": "send", "console": USERS, "data": "HnA=" });
                client.request(request).ok().filter(|answer| answer["error"].is_null())
            });
            (End::Status(0), "guest powered off")
        }
    }
}
