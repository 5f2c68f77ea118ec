//! Consoles that are not on lguest's terminal, and command lines with impossible consoles.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Launch, Pty, Running, console, environment, program, until};

use super::probe;

#[test]
fn a_console_in_a_file_leaves_the_terminal_alone() {
    let scratch = Scratch::new();
    let file = scratch.file("log", "old");
    let launch = probe("console").option(&format!("--console=file={}", file.display()));
    let mut running = launch.on_terminal();
    let before = running.pty().snapshot();
    let printed = || fs::read_to_string(&file).unwrap();
    until("the guest prints into the file", || {
        printed().starts_with("hello 80x24\n").then_some(())
    });
    assert!(!before.is_raw() && !running.pty().snapshot().is_raw());
    assert!(running.process().thread("con0-file").is_some());
    assert!(running.process().thread("stdin").is_none());
    running.process().signal(Signal::SIGINT);
    assert_eq!(running.wait(), End::Status(130));
    assert_eq!(running.text(), "");
    running.assert_terminal_restored();
    running.assert_nothing_left();
}

#[test]
fn a_file_is_appended_to_if_that_is_asked_for() {
    let scratch = Scratch::new();
    let file = scratch.file("a,log", "old\n");
    let path = file.to_str().unwrap().replace(',', ",,");
    let launch = probe("console").option(&format!("--console=file={path},append"));
    let mut running = launch.option("--console=sock").on_terminal();
    until("the guest has printed", || {
        fs::read_to_string(&file).unwrap().ends_with("hello 80x24\n").then_some(())
    });
    running.process().signal(Signal::SIGTERM);
    assert_eq!(running.wait(), End::Status(143));
    assert_eq!(fs::read_to_string(&file).unwrap(), "old\nhello 80x24\n");
}

#[test]
fn impossible_consoles_are_refused_in_one_line() {
    let scratch = Scratch::new();
    let missing = scratch.path().join("no/log");
    // Opening the pipe would wait for its reader.
    let pipe = scratch.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (options, status, words) in [
        (vec!["--console=stdio".into(), "--console=stdio".into()], 1, "given twice"),
        (vec![format!("--console=file={}", missing.display())], 1, "no/log: No such file"),
        (vec![format!("--console=file={}", pipe.display())], 1, "nobody reads this pipe"),
        (vec!["--console=multiport".into()], 2, "multiport"),
        (vec!["--console=stdio,foo=1".into()], 2, "foo=1"),
        (vec!["--console=sock,buffer=1".into()], 2, "a buffer has 4K to 16M"),
        (vec!["--console=sock,name=a".into(), "--console=pty,name=a".into()], 1, "two are named a"),
    ] {
        let launch = options.iter().fold(probe("console"), |launch, option| launch.option(option));
        let mut running = launch.on_terminal();
        assert_eq!(running.wait(), End::Status(status), "{options:?}");
        assert!(running.stderr().contains(words), "{}", running.stderr());
        running.assert_terminal_restored();
        running.assert_nothing_left();
    }
}

/// Starts a guest named "web" that commands can reach.
fn named(launch: Launch) -> Running {
    let running = launch.option("--name=web").piped();
    until("the control socket answers", || {
        (running.lguest(&["info", "web"]).status == Some(0)).then_some(())
    });
    running
}

/// Starts a guest named "web" with two consoles. It echoes its input on the first, and ignores the
/// second.
fn web() -> Running {
    let launch = probe("console").option("--name=web").option("--console=sock");
    let running = launch.option("--console=sock").piped();
    until("the guest has printed", || {
        let log = running.lguest(&["log", "web"]);
        (log.stdout == "hello 80x24\n").then_some(())
    });
    running
}

#[test]
fn log_prints_the_buffered_output() {
    let running = web();
    let counts = running.lguest(&["peek", "web", "--json"]).well();
    assert_eq!(counts, "{\"dropped\":0,\"unread\":12}\n");
    for _ in 0..2 {
        assert_eq!(running.lguest(&["peek", "web", "0"]).well(), "hello 80x24\n");
    }
    let said = running.lguest(&["peek", "web", "--max", "5"]);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("hello", "lguest: 5 of 12 bytes\n"));
    assert_eq!(running.lguest(&["log", "web", "1"]).well(), "");
}

#[test]
fn send_types_its_text_once() {
    let running = web();
    assert_eq!(running.lguest(&["send", "web", "0", "over here"]).well(), "");
    until("the guest has read the input", || {
        let log = running.lguest(&["log", "web"]).well();
        (log == "hello 80x24\nover here").then_some(())
    });
    assert_eq!(running.lguest(&["peek", "web", "0", "--input"]).well(), "");
}

#[test]
fn input_that_the_guest_has_not_read_is_kept_and_peek_shows_it() {
    let (running, scratch) = (web(), Scratch::new());
    running.lguest(&["send", "web", "1", "echo hi\n"]).well();
    for _ in 0..2 {
        assert_eq!(running.lguest(&["peek", "web", "1", "--input"]).well(), "echo hi\n");
    }
    let said = running.lguest(&["peek", "web", "1", "--input", "--max", "3"]);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("ech", "lguest: 3 of 8 bytes\n"));
    let counts = running.lguest(&["peek", "web", "1", "--input", "--json"]).well();
    assert_eq!(counts, "{\"unread\":8}\n");

    // The text from stdin is longer than there is room for.
    let much = fs::File::open(scratch.file("much", vec![b'x'; 3 << 20])).unwrap();
    let mut send = Command::new(environment::launcher());
    send.args(["send", "web", "1", "-"]).env("XDG_RUNTIME_DIR", running.runtime());
    let said = send.stdin(much).output().unwrap();
    assert_eq!(said.status.code(), Some(75));
    let said = String::from_utf8(said.stderr).unwrap();
    let (_, count) = said.trim_end().split_once("does not read its console: ").unwrap();
    let sent: usize = count.split(' ').next().unwrap().parse().unwrap();
    let unread = running.lguest(&["peek", "web", "1", "--input"]).well();
    assert!(sent > 4095 && unread.len() == sent + 8, "{sent} sent, {} unread", unread.len());
    assert!(unread.starts_with("echo hi\nxxx") && unread.ends_with("xxx"));
}

#[test]
fn resize_sets_the_size_of_the_window() {
    let running = web();
    running.lguest(&["send", "web", "0", "\u{1e}w"]).well();
    running.lguest(&["resize", "web", "0", "41", "133"]).well();
    until("the guest prints its new size", || {
        running.lguest(&["log", "web"]).well().ends_with("133x41\n").then_some(())
    });
}

#[test]
fn a_console_that_does_not_exist_is_named() {
    let running = web();
    for words in [
        &["log", "web", "77"][..],
        &["peek", "web", "77"],
        &["send", "web", "77", "text"],
        &["resize", "web", "77", "24", "80"],
    ] {
        let line = running.lguest(words).one_line();
        assert!(line.contains("no console 77: there are 0 to 1"), "{line}");
    }
    assert!(running.lguest(&["log", "nobody"]).one_line().contains("no guest nobody"));
}

#[test]
fn a_console_buffers_as_much_output_as_its_option_says() {
    let running = named(probe("console").option("--console=sock,buffer=4K"));
    running.lguest(&["send", "web", "0", "\u{1e}f64\nflood done\n"]).well();
    until("the guest has printed all", || {
        running.lguest(&["log", "web"]).well().ends_with("flood done\n").then_some(())
    });
    let printed = "hello 80x24\n".len() + 64 * 1024 + "flood done\n".len();
    assert_eq!(running.lguest(&["log", "web"]).well().len(), 4096);
    let counts = running.lguest(&["peek", "web", "--json"]).well();
    assert_eq!(counts, format!("{{\"dropped\":{},\"unread\":4096}}\n", printed - 4096));
}

/// The largest buffer fits into one answer.
#[test]
fn one_answer_can_carry_the_largest_buffer() {
    let running = named(probe("console").option("--console=sock,buffer=16M"));
    running.lguest(&["send", "web", "0", "\u{1e}f17000\nflood done\n"]).well();
    until("the guest has printed all", || {
        let log = running.lguest(&["log", "web"]).well();
        (log.len() == 16 << 20 && log.ends_with("flood done\n")).then_some(())
    });
}

#[test]
fn a_console_may_have_a_name() {
    let launch = probe("console").option("--name=web").option("--console=sock,name=shell");
    let running = launch.option("--console=sock,name=spare").piped();
    until("the guest has printed", || {
        (running.lguest(&["log", "web", "shell"]).stdout == "hello 80x24\n").then_some(())
    });
    running.lguest(&["send", "web", "spare", "typed"]).well();
    assert_eq!(running.lguest(&["peek", "web", "1", "--input"]).well(), "typed");
    let info = running.lguest(&["info", "web", "--json"]).well();
    assert!(info.contains("\"label\":\"shell\""), "{info}");
    let line = running.lguest(&["log", "web", "shel"]).one_line();
    assert!(line.contains("no console shel: there are 0 to 1, shell, spare"), "{line}");
}

#[test]
fn a_null_console_buffers_nothing() {
    let running = named(probe("console").option("--console=null"));
    let info = || running.lguest(&["info", "web", "--json"]).well();
    until("the guest has printed", || info().contains("\"dropped\":12").then_some(()));
    assert!(info().contains("\"unread\":0"), "{}", info());
    for words in [&["log", "web"][..], &["peek", "web"], &["send", "web", "0", "x"]] {
        let line = running.lguest(words).one_line();
        assert!(line.contains("console 0 is null: nobody is ever there"), "{line}");
    }
}

#[test]
fn a_log_can_be_followed_and_stays_unread() {
    let mut guest = web();
    guest.lguest(&["send", "web", "0", "before\n"]).well();
    until("the guest has printed the line", || {
        guest.lguest(&["log", "web"]).well().ends_with("before\n").then_some(())
    });
    let runtime = format!("XDG_RUNTIME_DIR={}", guest.runtime().display());
    let launcher = environment::launcher();
    let words = ["env", &runtime, launcher.to_str().unwrap(), "log", "web", "--follow"];
    let mut log = program(&words, Path::new("/"), Pty::new(24, 80));
    log.expect("hello 80x24\r\nbefore\r\n");
    guest.lguest(&["send", "web", "0", "later\n"]).well();
    log.expect("later\r\n");
    let unread = "hello 80x24\nbefore\nlater\n";
    assert_eq!(guest.lguest(&["peek", "web"]).well(), unread);
    guest.lguest(&["send", "web", "0", "\u{1e}p"]).well();
    assert_eq!(guest.wait(), End::Status(0));
    assert_eq!(log.wait(), End::Status(0));
    assert_eq!(log.stderr(), "lguest: guest powered off\n");

    // `lguest log --follow | sed '/word/q'` ends like this: the reader closes the pipe.
    let guest = web();
    let follow = |rest: &str| {
        let line = format!(
            "XDG_RUNTIME_DIR={} {} log web --follow {rest}",
            guest.runtime().display(),
            environment::quoted(&environment::launcher())
        );
        program(&["sh", "-c", &line], Path::new("/"), Pty::new(24, 80))
    };
    let mut log = follow("| sed '/word/q'");
    log.expect("hello");
    guest.lguest(&["send", "web", "0", "a word\n"]).well();
    log.expect("a word\r\n");
    // The command ends although nothing more is printed.
    assert_eq!((log.wait(), log.stderr().as_str()), (End::Status(0), ""));
    // A log that is cut off did not end with the guest.
    let mut log = follow("");
    log.expect("hello");
    guest.process().signal(Signal::SIGKILL);
    assert_eq!(log.wait(), End::Status(1));
    assert_eq!(log.stderr(), "lguest: the guest's launcher has ended\n");
}

#[test]
fn verbose_logs_clients_that_attach_and_leave() {
    for (option, told) in [("--verbose", true), ("--no-reboot", false)] {
        let mut guest = named(probe("console").option("--console=sock").option(option));
        let mut user = console(guest.runtime(), &["web"]);
        let mut other = console(guest.runtime(), &["web", "-r"]);
        for user in [&mut user, &mut other] {
            user.expect_stderr("attached");
            let pid = user.process().0;
            user.press(0x1d);
            assert_eq!(user.wait(), End::Status(0));
            if told {
                guest.expect_stderr(&format!("con0: pid {pid} has left"));
            }
        }
        let said = guest.stderr();
        assert_eq!(said.contains(&format!("con0: pid {} types", user.process().0)), told, "{said}");
        assert_eq!(said.contains(&format!("con0: pid {} looks on", other.process().0)), told);
    }
}
