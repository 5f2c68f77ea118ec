//! `--console sock=PATH`: other programs at a console of a running guest. The guest is the probe,
//! which echoes its input.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Pty, Running, console, patience, program, until};

use super::probe;

/// Starts a guest named "web" with its console on this socket, and waits until the socket exists.
fn web(socket: &Path) -> Running {
    let option = format!("--console=sock={}", socket.display());
    let running = probe("console").option("--name=web").option(&option).piped();
    until("the guest has printed", || {
        (running.lguest(&["log", "web"]).stdout == "hello 80x24\n").then_some(())
    });
    running
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(patience())).unwrap();
    stream
}

/// Reads until `text` comes, and returns everything.
fn expect(mut stream: &UnixStream, text: &str) -> String {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&read).contains(text) {
        let count = stream.read(&mut buffer).unwrap();
        assert_ne!(count, 0, "the end, after {:?}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(read).unwrap()
}

fn socket_in(scratch: &Scratch) -> PathBuf {
    scratch.path().join("con0")
}

#[test]
fn the_socket_carries_bytes_for_one_client_at_a_time() {
    let scratch = Scratch::new();
    let socket = socket_in(&scratch);
    let mut guest = web(&socket);
    let info = guest.lguest(&["info", "web", "--json"]).well();
    let path = format!("\"path\":\"{}\"", socket.display());
    assert!(info.contains("\"backend\":\"sock\"") && info.contains(&path), "{info}");
    let metadata = fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket() && metadata.permissions().mode() & 0o777 == 0o600);

    let first = connect(&socket);
    assert_eq!(expect(&first, "\n"), "hello 80x24\n");
    (&first).write_all(b"every byte: \x00\x03\x1d\xff").unwrap();
    let mut echo = [0; 16];
    (&first).read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"every byte: \x00\x03\x1d\xff");

    // Other clients are refused, by either way.
    let pid = std::process::id();
    let refused = expect(&connect(&socket), "\n");
    assert_eq!(refused, format!("lguest: the console is in use by pid {pid}\r\n"));
    let mut user = console(guest.runtime(), &["web"]);
    assert_eq!(user.wait(), End::Status(3));
    let mut user = console(guest.runtime(), &["web", "--force"]);
    user.expect_stderr("attached");
    expect(&first, "[lguest: taken over by pid");
    user.press(0x1d);
    assert_eq!(user.wait(), End::Status(0));

    // Output from this time is there for the next client.
    guest.lguest(&["send", "web", "0", "meanwhile"]).well();
    let next = until("the socket accepts another client", || {
        let next = connect(&socket);
        (!expect(&next, "e").contains("in use")).then_some(next)
    });
    (&next).write_all(b"\x1ep").unwrap();
    let mut rest = String::new();
    (&next).read_to_string(&mut rest).unwrap();
    assert_eq!(guest.wait(), End::Status(0));
    assert!(!socket.exists(), "the socket is left");
    guest.assert_nothing_left();
}

/// Creates a directory so that the path of a socket in it has `length` bytes.
fn long_directory(scratch: &Scratch, length: usize) -> PathBuf {
    let base = scratch.path().as_os_str().len() + 1;
    let path = scratch.path().join("d".repeat(length - base - "/con0".len()));
    fs::create_dir(&path).unwrap();
    path
}

#[test]
fn the_longest_socket_path_works_and_a_longer_one_is_refused() {
    let scratch = Scratch::new();
    let longest = long_directory(&scratch, 107).join("con0");
    assert_eq!(longest.as_os_str().len(), 107);
    let mut guest = web(&longest);
    assert_eq!(expect(&connect(&longest), "\n"), "hello 80x24\n");
    assert_eq!(fs::read_dir(longest.parent().unwrap()).unwrap().count(), 1);
    guest.lguest(&["stop", "web"]).well();
    assert_eq!(guest.wait(), End::Status(0));
    assert!(!longest.exists(), "the socket is left");

    let longer = long_directory(&scratch, 108).join("con0");
    let mut refused =
        probe("console").option(&format!("--console=sock={}", longer.display())).piped();
    assert_eq!(refused.wait(), End::Status(1));
    let said = refused.stderr();
    assert!(said.contains("it has 108 bytes, and the path of a socket has 107 at most"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A relative path is short, however deep its directory is.
#[test]
fn a_relative_path_works_in_a_deep_directory() {
    let scratch = Scratch::new();
    let deep = scratch.path().join("d".repeat(200));
    fs::create_dir(&deep).unwrap();
    let line = format!(
        "exec {} <&- 2>&1",
        probe("console").option("--name=web").option("--console=sock=con0").shell_line()
    );
    let mut guest = program(&["sh", "-c", &line], &deep, Pty::new(24, 80));
    until("the socket is there", || deep.join("con0").exists().then_some(()));
    guest.lguest(&["stop", "web"]).well();
    assert_eq!(guest.wait(), End::Status(0));
    assert!(!deep.join("con0").exists(), "the socket is left");
}

/// The documents describe this: socat on a real terminal.
#[test]
fn socat_connects_a_terminal_to_the_socket() {
    let scratch = Scratch::new();
    let socket = socket_in(&scratch);
    let mut guest = web(&socket);
    let address = format!("UNIX:{}", socket.display());
    let mut user = program(&["socat", "-,raw,echo=0", &address], Path::new("/"), Pty::new(24, 80));
    user.expect("hello 80x24\n");
    // Neither the terminal nor socat changes these keys.
    user.send("key by key \x03\x1a\x1d\r\n.");
    user.expect("key by key \x03\x1a\x1d\r\n.");
    assert_eq!(user.text().matches("key by key").count(), 1, "{:?}", user.text());
    user.send("\x1ep");
    assert_eq!(guest.wait(), End::Status(0));
    assert_eq!(user.wait(), End::Status(0));
    user.assert_terminal_restored();
}

#[test]
fn a_socket_in_use_is_not_replaced() {
    let scratch = Scratch::new();
    let socket = socket_in(&scratch);
    let option = format!("--console=sock={}", socket.display());
    let refused = |words: &str| {
        let mut running = probe("console").option(&option).on_terminal();
        assert_eq!(running.wait(), End::Status(1));
        assert!(running.stderr().contains(words), "{}", running.stderr());
        assert_eq!(running.stderr().lines().count(), 1, "{}", running.stderr());
        running.assert_terminal_restored();
        running.assert_nothing_left();
    };
    let guest = web(&socket);
    refused("con0: somebody listens there already: give another name");
    // A killed launcher leaves the socket behind, and the next one replaces it.
    guest.process().signal(Signal::SIGKILL);
    drop(guest);
    assert_eq!(UnixStream::connect(&socket).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let mut guest = web(&socket);
    expect(&connect(&socket), "hello");
    // The launcher does not remove a file that somebody else has put in its place.
    fs::remove_file(&socket).unwrap();
    let other = UnixListener::bind(&socket).unwrap();
    guest.process().signal(Signal::SIGTERM);
    assert_eq!(guest.wait(), End::Status(143));
    assert!(socket.exists(), "the file of somebody else was removed");
    drop(other);

    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "precious").unwrap();
    refused("con0: it is there already, and no socket: remove it, or give another name");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
    fs::remove_file(&socket).unwrap();
    let option = format!("--console=sock={}", scratch.path().join("no/con0").display());
    let mut running = probe("console").option(&option).piped();
    assert_eq!(running.wait(), End::Status(1));
    assert!(running.stderr().contains("no/con0: No such file"), "{}", running.stderr());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "something is left");
}

/// In a directory of another user, a path may be a link a moment later.
#[test]
fn the_socket_is_never_changed_by_its_path() {
    let scratch = Scratch::new();
    let (socket, calls) = (socket_in(&scratch), scratch.path().join("calls"));
    let launch = probe("poweroff").option(&format!("--console=sock={}", socket.display()));
    let line = launch.option("--console=pty").shell_line();
    let line = format!("umask 0; exec strace -f -e /chmod,bind -o {} {line}", calls.display());
    let mut running = program(&["sh", "-c", &line], scratch.path(), Pty::new(24, 80));
    assert_eq!(running.wait(), End::Status(0), "{}", running.stderr());
    let calls = fs::read_to_string(&calls).unwrap();
    assert!(calls.contains("bind("), "{calls}");
    let chmods = calls.lines().filter(|line| line.contains("chmod"));
    let named: Vec<_> =
        chmods.filter(|line| line.contains("/con0") || line.contains("/.")).collect();
    assert_eq!(named, [] as [&str; 0]);
}
