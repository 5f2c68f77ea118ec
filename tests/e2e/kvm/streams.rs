//! Output files that are the launcher's own stdout, by one of its names. If stdout is a socket, as
//! that of a service is, it cannot be opened by a name.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, until};

use super::probe;

#[test]
fn a_console_and_a_log_can_write_to_a_stdout_that_is_a_socket() {
    for options in [
        &["--console=file=/dev/stdout"][..],
        &["--console=file=/proc/self/fd/1,append"],
        &["--console=null", "--log=/dev/fd/1"],
        &["--console=null", "--log=/dev/stdout"],
    ] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let launch = options.iter().fold(probe("console"), |launch, option| launch.option(option));
        let mut running = launch.wired(Stdio::null(), OwnedFd::from(theirs));
        let mut said = [0; 12];
        ours.read_exact(&mut said).unwrap_or_else(|_| panic!("{options:?}: {}", running.stderr()));
        assert_eq!(&said, b"hello 80x24\n");
        running.process().signal(Signal::SIGTERM);
        assert_eq!(running.wait(), End::Status(143));
    }
}

/// Opening the file by its name would truncate it.
#[test]
fn a_stdout_that_is_a_file_is_appended_to() {
    let scratch = Scratch::new();
    let path = scratch.file("log", "before\n");
    let mut stdout = File::options().append(true).open(&path).unwrap();
    writeln!(stdout, "again").unwrap();
    let launch = probe("console").option("--console=null").option("--log=/dev/stdout");
    let mut running = launch.wired(Stdio::null(), stdout);
    until("the guest has printed", || {
        (fs::read_to_string(&path).unwrap() == "before\nagain\nhello 80x24\n").then_some(())
    });
    running.process().signal(Signal::SIGTERM);
    assert_eq!(running.wait(), End::Status(143));
}

#[test]
fn any_other_socket_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    for option in ["--log=", "--console=file="] {
        let mut running = probe("console").option(&format!("{option}{}", path.display())).piped();
        assert_eq!(running.wait(), End::Status(1));
        let said = running.stderr();
        assert!(said.contains("it is a socket, which cannot be opened as a file"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
