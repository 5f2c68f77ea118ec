//! Names of guests, and the directories that belong to them. A name has one launcher, and its
//! directory disappears however the launcher ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use tests::files::{Scratch, below};
use tests::{End, Launch, Pty, Running, is_root, lguest, until};

use super::probe;

const HEADER: &str = "NAME  PID  STATE  CPUS  MEMORY  UPTIME\n";

fn named(mode: &str, runtime: &Path) -> Launch {
    probe(mode).runtime(Some(runtime)).option("--name=one")
}

#[track_caller]
fn assert_refused(running: &mut Running, words: &str) {
    assert_eq!(running.wait_refused(words), End::Status(1));
}

#[test]
fn a_name_has_one_launcher() {
    let scratch = Scratch::new();
    let mut first = named("console", scratch.path()).piped();
    first.expect("hello 80x24\n");
    let words = format!("guest one is running already (pid {}): ", first.process().0);
    assert_refused(&mut named("console", scratch.path()).on_terminal(), &words);

    // The first launcher has not noticed, and can be reached.
    lguest(scratch.path(), &["stop", "one"]).well();
    assert_eq!(first.wait(), End::Status(0));
    assert_eq!(below(&scratch.path().join("lguest")), [] as [&Path; 0]);
}

/// The directory's name is longer than a socket's path may be.
#[test]
fn the_directory_of_all_guests_may_have_a_long_name() {
    let scratch = Scratch::new();
    let long = scratch.path().join("d".repeat(200));
    fs::create_dir(&long).unwrap();
    let mut first = named("console", &long).piped();
    first.expect("hello 80x24\n");
    assert!(lguest(&long, &["info", "one"]).well().contains("console"));
    lguest(&long, &["stop", "one"]).well();
    assert_eq!(first.wait(), End::Status(0));
}

#[test]
fn one_of_two_launchers_with_the_same_name_runs() {
    let scratch = Scratch::new();
    for _ in 0..20 {
        let mut both = [(); 2].map(|()| named("console", scratch.path()).piped());
        let loser = until("one of the two launchers ends", || {
            both.iter_mut().position(|one| one.poll_end().is_some())
        });
        let [first, second] = &mut both;
        let (lost, won) = if loser == 0 { (first, second) } else { (second, first) };
        assert_eq!(lost.wait(), End::Status(1));
        let words = format!("running already (pid {})", won.process().0);
        assert!(lost.stderr().contains(&words), "{}", lost.stderr());
        won.expect("hello 80x24\n");
        won.process().signal(Signal::SIGKILL);
        assert_eq!(won.wait(), End::Killed(9));
        // The directory that the killed launcher left is there for the next two.
        assert_eq!(below(&scratch.path().join("lguest")).len(), 1);
    }
}

#[test]
fn directories_of_killed_launchers_are_removed() {
    let scratch = Scratch::new();
    let directories = || below(&scratch.path().join("lguest")).len();
    let kill = || {
        let mut running = named("console", scratch.path()).on_terminal();
        running.expect("hello 100x30");
        running.process().signal(Signal::SIGKILL);
        assert_eq!(running.wait(), End::Killed(9));
        running.assert_no_process_left();
        assert_eq!(directories(), 1);
    };
    kill();
    assert_eq!(named("poweroff", scratch.path()).piped().wait(), End::Status(0));
    assert_eq!(directories(), 0);
    kill();
    assert_eq!(lguest(scratch.path(), &["list"]).well(), HEADER);
    assert_eq!(directories(), 0);
    kill();
    let line = lguest(scratch.path(), &["stop", "one"]).one_line();
    assert_eq!(line, "lguest: no guest one: none is running\n");
}

#[test]
fn a_failed_start_leaves_no_directory() {
    let launch = Launch::kernel("/nonexistent").option("--name=one");
    let mut running = launch.on_terminal();
    assert_refused(&mut running, "/nonexistent: no such file");
    running.assert_nothing_left();
    // Other tests show that the socket was created at all.
}

#[test]
fn invalid_names_are_refused() {
    for bad in ["", ".hidden", "-x", "a/b", "..", "a b", &"x".repeat(65)] {
        let mut running = probe("poweroff").option(&format!("--name={bad}")).piped();
        assert_eq!(running.wait(), End::Status(2), "{bad}");
        assert!(running.stderr().contains("--name"), "{}", running.stderr());
        let stop = running.lguest(&["stop", "--", bad]);
        assert_eq!((stop.status, stop.stdout.as_str()), (Some(2), ""), "{bad}");
    }
    let mut running = probe("poweroff").option(&format!("--name={}", "x".repeat(64))).piped();
    assert_eq!(running.wait(), End::Status(0), "{}", running.stderr());
}

#[test]
fn without_a_runtime_directory_a_guest_runs_unnamed() {
    let nowhere = Path::new("/proc");
    // With a console that the guest never uses, lguest would report that its messages are lost.
    let silent = || probe("poweroff").option("--console=null");
    let mut running = silent().runtime(Some(nowhere)).piped();
    assert_eq!((running.wait(), running.stderr()), (End::Status(0), String::new()));
    let mut running = probe("poweroff").runtime(Some(nowhere)).option("--verbose").piped();
    assert_eq!(running.wait(), End::Status(0));
    assert!(running.stderr().contains("no name and no control socket"), "{}", running.stderr());
    assert_refused(&mut named("poweroff", nowhere).on_terminal(), "making /proc/lguest: ");

    // Root then uses /run, and other users have no directory.
    let mut running = silent().runtime(None).piped();
    assert_eq!((running.wait(), running.stderr()), (End::Status(0), String::new()));
}

#[test]
fn a_runtime_directory_that_others_can_write_is_refused() {
    let scratch = Scratch::new();
    let all = scratch.path().join("lguest");
    fs::create_dir(&all).unwrap();
    fs::set_permissions(&all, fs::Permissions::from_mode(0o777)).unwrap();
    assert_refused(&mut named("poweroff", scratch.path()).on_terminal(), "others may write to it");
    assert_eq!(below(&all), [] as [&Path; 0]);
    fs::set_permissions(&all, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(named("poweroff", scratch.path()).piped().wait(), End::Status(0));
}

#[test]
fn a_name_without_a_runtime_directory_is_refused_with_advice() {
    if !is_root("being another user") {
        return;
    }
    let scratch = Scratch::new();
    let launcher = scratch.launcher_for_all();
    let line = format!(
        "exec env -u XDG_RUNTIME_DIR setpriv --reuid=65534 --regid=65534 --clear-groups \
         {launcher} 64 /dev/null --name=one"
    );
    let mut running = tests::program(&["sh", "-c", &line], scratch.path(), Pty::new(30, 100));
    assert_refused(&mut running, "XDG_RUNTIME_DIR is not set: set it to a directory of your own");
}

/// A launcher can write to its lock file as long as it lives, even if another launcher owns the
/// lock by then.
#[test]
fn stop_waits_only_for_the_launcher_itself() {
    let mut running = probe("console").option("--name=one").piped();
    running.expect("hello");
    fs::write(running.directories()[0].join("lock"), "1\n").unwrap();
    let runtime = format!("XDG_RUNTIME_DIR={}", running.runtime().display());
    let launcher = tests::environment::launcher();
    let words = ["env", &runtime, launcher.to_str().unwrap(), "stop", "one"];
    let mut stop = tests::program(&words, Path::new("/"), Pty::new(30, 100));
    assert_eq!(stop.wait(), End::Status(0));
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn root_reaches_a_guest_that_has_dropped_privileges() {
    if !is_root("being another user") {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.path().join("root");
    fs::create_dir(&root).unwrap();
    let disk = scratch.file("disk", [0; 4096]);
    let launch = probe("console").option("--name=one").option("--username=nobody");
    let line =
        format!("exec {}", launch.option("--chroot=root").option("--block=disk").shell_line());
    let mut running = tests::program(&["sh", "-c", &line], scratch.path(), Pty::new(30, 100));
    running.expect("hello 100x30");
    assert!(running.lguest(&["list"]).well().contains("one"));
    // The path is relative to the directory in which the launcher was started.
    let info = running.lguest(&["info", "one"]).well();
    assert!(info.contains(disk.to_str().unwrap()), "{info}");
    running.lguest(&["pause", "one"]).well();
    running.lguest(&["resume", "one"]).well();
    running.lguest(&["reset", "one"]).well();
    running.expect("hello 100x30");
    running.lguest(&["stop", "one"]).well();
    assert_eq!(running.wait(), End::Status(0));
    // A directory that the launcher could not remove does no harm. `stop` may have removed it
    // already.
    assert!(running.directories().len() <= 1);
    assert_eq!(running.lguest(&["list"]).well().lines().count(), 1);
    assert_eq!(running.directories().len(), 0);
}
