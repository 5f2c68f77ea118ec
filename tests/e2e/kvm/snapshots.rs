//! `lguest snapshot` and `lguest restore`, with the probe: a guest continues where it was, its
//! consoles with every byte once, and what is not a complete snapshot is
//! refused.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{End, Launch, Running, environment, until};

use super::{consoles, probe, wait_for_all};

mod refusals;

/// Saves the guest called `one` to a directory of this name, and returns its path.
#[track_caller]
fn snapshot(running: &Running, scratch: &Scratch, name: &str, options: &[&str]) -> PathBuf {
    let directory = scratch.path().join(name);
    let words = ["snapshot", "one", directory.to_str().unwrap()];
    let said = running.lguest(&[&words, options].concat()).well();
    assert!(said.starts_with(&format!("guest one: saved to {}", directory.display())), "{said}");
    directory
}

/// The launch of a saved guest, called `one` again.
fn restore(directory: &Path) -> Launch {
    Launch::restore(directory).option("--name=one")
}

/// Continues a saved guest as `one` on a terminal. Returns when keys go to the guest.
#[track_caller]
fn restored(directory: &Path) -> Running {
    let running = restore(directory).on_terminal();
    until("the terminal is the guest's", || running.pty().snapshot().is_raw().then_some(()));
    running
}

/// Continues a saved guest as `one`, between two pipes. Returns when it answers commands.
#[track_caller]
fn restored_piped(directory: &Path) -> Running {
    let running = restore(directory).piped();
    until("it answers", || (running.lguest(&["info", "one"]).status == Some(0)).then_some(()));
    running
}

/// A launch of the probe's console, called `one`.
fn one() -> Launch {
    probe("console").option("--name=one")
}

/// All files below a directory, with their contents.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = tests::files::below(directory);
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_guest_continues_where_it_was_saved() {
    let scratch = Scratch::new();
    let mut first = one().on_terminal();
    first.expect("hello 100x30");
    first.send("abc");
    first.expect("abc");
    let directory = snapshot(&first, &scratch, "saved", &["--stop"]);
    assert_eq!(first.wait(), End::Status(0));
    assert_eq!(first.stderr(), "lguest: saved by `lguest snapshot --stop`\n");
    first.assert_terminal_restored();
    let saved = contents(&directory);

    for _ in 0..3 {
        let mut again = restored(&directory);
        again.send("xyz");
        again.expect("xyz");
        assert!(!again.text().contains("hello") && !again.text().contains("abc"));
        again.send([0x1e, b'p']);
        assert_eq!(again.wait(), End::Status(0));
        assert_eq!(again.stderr(), "");
        again.assert_nothing_left();
    }
    assert!(contents(&directory) == saved, "a restored guest wrote to its snapshot");
}

#[test]
fn a_guest_that_was_saved_runs_on() {
    let scratch = Scratch::new();
    let mut running = one().on_terminal();
    running.expect("hello 100x30");
    for round in 0..5 {
        snapshot(&running, &scratch, &format!("saved{round}"), &[]);
        running.send(format!("round {round}"));
        running.expect(&format!("round {round}"));
    }
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    assert_eq!(running.stderr(), "");
    running.assert_terminal_restored();
}

/// Generations: each is saved from the one before.
#[test]
fn a_restored_guest_can_be_saved() {
    let scratch = Scratch::new();
    let mut running = one().on_terminal();
    running.expect("hello 100x30");
    for generation in 0..5 {
        let directory = snapshot(&running, &scratch, &format!("{generation}"), &["--stop"]);
        assert_eq!(running.wait(), End::Status(0));
        running = restored(&directory);
        let text = format!("generation {generation}");
        running.send(&text);
        running.expect(&text);
    }
    // A reset starts the guest as a launch does.
    running.send([0x1e, b'r']);
    running.expect("hello 100x30");
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
}

/// Output that nobody has read, and input that the guest has not read.
#[test]
fn every_unread_byte_arrives_once() {
    let scratch = Scratch::new();
    let mut first = consoles("one", 3).piped();
    wait_for_all(first.runtime(), "one", 3);
    first.lguest(&["pause", "one"]).well();
    first.lguest(&["send", "one", "1", "typed while it was paused\n"]).well();
    let peek = |running: &Running, words: &[&str]| {
        running.lguest(&[&["peek", "one"], words].concat()).well()
    };
    let unread = ["0", "1", "2"].map(|console| peek(&first, &[console]));
    assert_eq!(unread[2], "hello 2\n");
    let directory = snapshot(&first, &scratch, "saved", &["--stop"]);
    assert_eq!(first.wait(), End::Status(0));

    let mut again = restored_piped(&directory);
    until("the guest has read what was typed", || {
        peek(&again, &["1", "--input"]).is_empty().then_some(())
    });
    until("the guest has echoed it", || {
        let said = peek(&again, &["1"]);
        (said == format!("{}typed while it was paused\n", unread[1])).then_some(())
    });
    assert_eq!(
        [peek(&again, &["0"]), peek(&again, &["2"])],
        [unread[0].clone(), unread[2].clone()]
    );
    again.lguest(&["stop", "one"]).well();
    assert_eq!(again.wait(), End::Status(0));
}

/// A flood that is cut by snapshots: together, the readers got every line once.
#[test]
fn a_flood_that_is_saved_and_restored_is_complete() {
    const KIB: usize = 16 << 10;
    let scratch = Scratch::new();
    let mut running = one().piped();
    running.expect("hello 80x24\n");
    running.send(format!("\u{1e}f {KIB}\n"));
    let (mut printed, mut cuts) = (Vec::new(), 0);
    while printed.len() < KIB << 10 {
        // Some of the flood is read, some waits in the pipe, some in the ring.
        until("the flood goes on", || (!running.output().unseen().is_empty()).then_some(()));
        let directory = snapshot(&running, &scratch, &format!("cut{cuts}"), &["--stop"]);
        assert_eq!(running.wait(), End::Status(0));
        printed.extend(running.all_output());
        assert!(!running.stderr().contains("lost"), "{}", running.stderr());
        cuts += 1;
        running = restored_piped(&directory);
    }
    running.lguest(&["kill", "one"]).well();
    assert!(cuts > 3, "{cuts} snapshots in the flood");
    let printed = String::from_utf8(printed).unwrap();
    let numbers = printed.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap());
    let numbers: Vec<usize> = numbers.collect();
    assert!(numbers.into_iter().eq(0..KIB * 16), "lost, or doubled");
}

/// Input that is typed between snapshots, some of which the guest has not read when it is saved: the
/// echo has every byte once.
#[test]
fn input_that_is_typed_between_snapshots_arrives_once() {
    let scratch = Scratch::new();
    let mut running = one().piped();
    running.expect("hello 80x24\n");
    let typed: String = (0..8000).map(|number| format!("{number};")).collect();
    let mut echoed = Vec::new();
    for (round, piece) in typed.as_bytes().chunks(1 << 10).enumerate() {
        running.lguest(&["send", "one", "0", std::str::from_utf8(piece).unwrap()]).well();
        if round % 4 == 3 {
            let directory = snapshot(&running, &scratch, &format!("cut{round}"), &["--stop"]);
            assert_eq!(running.wait(), End::Status(0));
            echoed.extend(running.all_output());
            assert!(!running.stderr().contains("lost"), "{}", running.stderr());
            running = restored_piped(&directory);
        }
    }
    until("all is echoed", || {
        (echoed.len() + running.output().unseen().len() >= typed.len()).then_some(())
    });
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
    echoed.extend(running.all_output());
    assert_eq!(String::from_utf8(echoed).unwrap(), typed);
}

#[test]
fn many_guests_start_from_one_snapshot() {
    let scratch = Scratch::new();
    let mut first = one().piped();
    first.expect("hello 80x24\n");
    let directory = snapshot(&first, &scratch, "saved", &["--stop"]);
    assert_eq!(first.wait(), End::Status(0));
    let saved = contents(&directory);
    let mut clones: Vec<_> = (0..10).map(|_| Launch::restore(&directory).piped()).collect();
    for (number, clone) in clones.iter_mut().enumerate() {
        clone.send(format!("clone {number}\n"));
    }
    for (number, clone) in clones.iter_mut().enumerate() {
        clone.expect(&format!("clone {number}\n"));
        clone.send([0x1e, b'p']);
        assert_eq!(clone.wait(), End::Status(0));
    }
    assert!(contents(&directory) == saved);
}

#[test]
fn a_guest_in_the_background_is_saved_and_restored_there() {
    let scratch = Scratch::new();
    let runtime = Scratch::new();
    let below = |launch: Launch| launch.option("--detach").runtime(Some(runtime.path()));
    let mut first = below(one()).piped();
    assert_eq!(first.wait(), End::Status(0));
    let said = |words: &[&str]| tests::lguest(runtime.path(), words);
    until("it greets", || said(&["log", "one"]).stdout.contains("hello").then_some(()));
    let directory = scratch.path().join("saved");
    said(&["snapshot", "one", directory.to_str().unwrap(), "--stop"]).well();
    assert_eq!(said(&["list"]).well().lines().count(), 1);
    let mut again = below(restore(&directory)).piped();
    again.expect("one\n");
    assert_eq!(again.wait(), End::Status(0));
    said(&["send", "one", "0", "back"]).well();
    until("it echoes", || said(&["log", "one"]).stdout.ends_with("back").then_some(()));
    said(&["stop", "one"]).well();
}

/// A client that is killed at any moment leaves a complete snapshot or none.
#[test]
fn a_killed_client_leaves_a_complete_snapshot_or_none() {
    let scratch = Scratch::new();
    let mut running = one().on_terminal();
    running.expect("hello 100x30");
    let directory = scratch.path().join("saved");
    let mut complete = 0;
    for round in 0..environment::kills() {
        let mut client = std::process::Command::new(environment::launcher())
            .args(["snapshot", "one", directory.to_str().unwrap()])
            .env("XDG_RUNTIME_DIR", running.runtime())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Each round a little later, by the work that a process has done.
        for _ in 0..round % 50 * 20 {
            std::thread::yield_now();
        }
        client.kill().unwrap();
        client.wait().unwrap();
        if directory.exists() {
            running.lguest(&["snapshot", "--show", directory.to_str().unwrap(), "--verify"]).well();
            fs::remove_dir_all(&directory).unwrap();
            complete += 1;
        }
        running.send(format!("round {round};"));
        running.expect(&format!("round {round};"));
    }
    let last = snapshot(&running, &scratch, "saved", &["--stop"]);
    assert_eq!(running.wait(), End::Status(0));
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(left, [last], "{complete} were complete");
}

/// The launcher of a guest is killed while it saves it.
#[test]
fn a_killed_launcher_leaves_no_half_of_a_snapshot() {
    let scratch = Scratch::new();
    for round in 0..environment::kills() / 2 {
        let mut running = one().piped();
        running.expect("hello 80x24\n");
        let directory = scratch.path().join(format!("saved{round}"));
        let client = std::process::Command::new(environment::launcher())
            .args(["snapshot", "one", directory.to_str().unwrap()])
            .env("XDG_RUNTIME_DIR", running.runtime())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        for _ in 0..round % 25 * 40 {
            std::thread::yield_now();
        }
        running.process().signal(Signal::SIGKILL);
        let mut said = String::new();
        let output = client.wait_with_output().unwrap();
        io::Cursor::new(output.stderr).read_to_string(&mut said).unwrap();
        assert_eq!(running.wait(), End::Killed(9));
        match directory.exists() {
            true => {
                running.lguest(&["snapshot", "--show", directory.to_str().unwrap()]).well();
            }
            false => assert_eq!(said.lines().count(), 1, "{said}"),
        }
    }
    let names = fs::read_dir(scratch.path()).unwrap().map(|it| it.unwrap().path());
    let unfinished: Vec<_> = names.filter(|it| it.extension().is_some()).collect();
    assert!(unfinished.is_empty(), "{unfinished:?}");
}

/// Root restores a guest, and gives up its rights: the launcher still answers, and is idle.
#[test]
fn a_restored_guest_runs_without_privileges() {
    if !tests::is_root("restore a guest as another user") {
        return;
    }
    let scratch = Scratch::new();
    let launch = probe("console").argument("wait=halt").option("--name=one");
    let mut first = launch.option("--console=sock").piped();
    until("it greets", || first.lguest(&["log", "one"]).stdout.contains("hello").then_some(()));
    let directory = snapshot(&first, &scratch, "saved", &["--stop"]);
    assert_eq!(first.wait(), End::Status(0));
    for options in [&["--username=nobody"][..], &["--username=nobody", "--chroot=/var/empty"]] {
        fs::create_dir_all("/var/empty").unwrap();
        let launch = restore(&directory);
        let launch = options.iter().fold(launch, |launch, option| launch.option(option));
        let mut again = launch.piped();
        until("it answers", || (again.lguest(&["info", "one"]).status == Some(0)).then_some(()));
        again.lguest(&["send", "one", "0", "back"]).well();
        until("it echoes", || again.lguest(&["log", "one"]).stdout.ends_with("back").then_some(()));
        let main = again.process().thread("lguest").unwrap();
        until("the main thread sleeps", || main.sleeps().then_some(()));
        assert!(!again.process().descriptors().iter().any(|it| it.contains("saved")));
        again.lguest(&["kill", "one"]).well();
        assert_eq!(again.wait(), End::Status(137));
    }
}

/// A guest that the user has paused is saved and stays paused; a clone of it runs.
#[test]
fn a_paused_guest_stays_paused_after_its_snapshot() {
    let scratch = Scratch::new();
    let mut first = consoles("one", 1).piped();
    wait_for_all(first.runtime(), "one", 1);
    first.lguest(&["pause", "one"]).well();
    let directory = snapshot(&first, &scratch, "saved", &[]);
    assert!(first.lguest(&["info", "one"]).well().contains("paused"));
    let mut clone = Launch::restore(&directory).option("--name=two").piped();
    let said = |words: &[&str]| clone.lguest(words);
    until("it runs", || said(&["info", "two"]).stdout.contains("running").then_some(()));
    said(&["kill", "two"]).well();
    assert_eq!(clone.wait(), End::Status(137));
    first.lguest(&["resume", "one"]).well();
    first.lguest(&["kill", "one"]).well();
    assert_eq!(first.wait(), End::Status(137));
}

#[test]
fn a_snapshot_is_shown() {
    let scratch = Scratch::new();
    let mut running = consoles("one", 2).piped();
    wait_for_all(running.runtime(), "one", 2);
    running.lguest(&["pause", "one"]).well();
    running.lguest(&["send", "one", "1", "seven b"]).well();
    let directory = snapshot(&running, &scratch, "saved", &[]);
    let directory = directory.to_str().unwrap();
    let said = running.lguest(&["snapshot", "--show", directory]).well();
    assert!(said.contains("memory     64 MiB") && said.contains("CPUs       1"), "{said}");
    assert!(
        said.contains("console 1  8 bytes of output not read, 0 lost; 7 bytes of input"),
        "{said}"
    );
    let json = running.lguest(&["snapshot", "--show", directory, "--json"]).well();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["manifest"]["name"], "one");
    assert_eq!(json["consoles"][1]["input"], 7);
    running.lguest(&["stop", "one"]).well();
    assert_eq!(running.wait(), End::Status(0));
}

/// Without a terminal where there was one, and the other way round.
#[test]
fn a_guest_moves_between_a_terminal_and_a_pipe() {
    let scratch = Scratch::new();
    let mut first = one().on_terminal();
    first.expect("hello 100x30");
    let on_terminal = snapshot(&first, &scratch, "terminal", &["--stop"]);
    assert_eq!(first.wait(), End::Status(0));

    let mut piped = restore(&on_terminal).fed(*b"from a pipe");
    piped.expect("from a pipe");
    let on_pipe = snapshot(&piped, &scratch, "pipe", &["--stop"]);
    assert_eq!(piped.wait(), End::Status(0));

    let mut last = restored(&on_pipe);
    // Its window has the size of the new terminal.
    last.send([0x1e, b'c']);
    last.expect("100x30");
    last.press_three_ctrl_c();
    assert_eq!(last.wait(), End::Status(130));
    last.assert_terminal_restored();
}

/// A full disk.
#[test]
fn a_snapshot_that_does_not_fit_leaves_nothing() {
    let scratch = Scratch::new();
    let mut running = one().on_terminal();
    running.expect("hello 100x30");
    let directory = scratch.path().join("saved");
    for blocks in [0, 1, 8, 64] {
        // The limit is the client's, and the launcher writes: so it is set for the launcher.
        let limited = format!("prlimit --pid {} --fsize={}", running.process().0, blocks * 512);
        tests::program(&["sh", "-c", &limited], Path::new("/"), tests::Pty::new(24, 80)).wait();
        let said = running.lguest(&["snapshot", "one", directory.to_str().unwrap()]).one_line();
        assert!(said.contains("writing memory: File too large"), "{said}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        running.send("alive");
        running.expect("alive");
    }
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
}
