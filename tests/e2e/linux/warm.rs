//! `--warm DIR`: the first run boots the guest and saves it, later runs continue from there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tests::files::Scratch;
use tests::{Done, End, Launch, environment, until};

use super::block::{MIB, ext4, image};
use super::net::{GUEST, HOST};

/// A launch of a command with `--warm`.
fn warm(directory: &Path, command: &str) -> Launch {
    Launch::exec(command).option("--warm").option(directory.to_str().unwrap())
}

/// Checksums of all files of a snapshot.
fn sums(directory: &Path) -> String {
    let line = format!("cd {} && sha256sum *", environment::quoted(directory));
    let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts that a run succeeded, has made the snapshot anew for a reason with these words, and
/// returns what the command printed.
#[track_caller]
fn made_anew(done: Done, words: &str) -> String {
    assert_eq!(done.end, End::Status(0), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(done.stderr.contains("made anew: ") && done.stderr.contains(words), "{}", done.stderr);
    String::from_utf8(done.stdout).unwrap()
}

/// The kernel's log has the moment at which it started the init, which differs for each boot.
const BOOTED: &str = "dmesg | grep 'as init process'";

#[test]
fn later_runs_continue_from_the_first_one() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("warm");
    let script = scratch.file("script", "echo from a file of this run; exit 5\n");
    let first = warm(&directory, BOOTED).done().well();
    let saved = sums(&directory);
    assert_eq!(warm(&directory, BOOTED).done().well(), first);
    // All of this belongs to one run.
    let done = warm(&directory, "cat; cat /script; sh /script; echo err >&2; exit 7")
        .option(&format!("--file={}", script.display()))
        .done_with(b"input\n".to_vec());
    assert_eq!((done.end, done.stderr.as_str()), (End::Status(7), "err\n"));
    let printed = "input\necho from a file of this run; exit 5\nfrom a file of this run\n";
    assert_eq!(String::from_utf8(done.stdout).unwrap(), printed);
    let modules = warm(&directory, "ls /script; ls /sys/class/net").option("--load=dummy").done();
    let missing = "ls: /script: No such file or directory\n";
    assert_eq!((modules.end, modules.stderr.as_str()), (End::Status(0), missing));
    assert_eq!(modules.stdout, b"dummy0\nlo\n");
    assert_eq!(warm(&directory, "ls /sys/class/net").done().well(), "lo\n");
    assert_eq!(sums(&directory), saved);
}

/// The clock and the random numbers of each run are its own.
#[test]
fn each_run_has_its_own_time_and_random_numbers() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("warm");
    let command = "head -c 16 /dev/urandom | sha256sum; date +%s";
    warm(&directory, command).done().well();
    let mut numbers = BTreeSet::new();
    for _ in 0..environment::snapshots() {
        let early = super::snapshots::now();
        let printed = warm(&directory, command).done().well();
        let late = super::snapshots::now();
        let (number, date) = printed.trim().split_once('\n').unwrap();
        let date: i64 = date.parse().unwrap();
        assert!((early - 1..=late + 1).contains(&date), "{date} is not from {early} to {late}");
        numbers.insert(number.to_string());
    }
    assert_eq!(numbers.len(), environment::snapshots());
}

#[test]
fn a_snapshot_that_is_out_of_date_is_made_anew() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("warm");
    let kernel = scratch.path().join("vmlinux");
    fs::copy(environment::vmlinux(), &kernel).unwrap();
    let run = |options: &[&str]| {
        let launch = Launch::kernel(&kernel).option("--modules");
        let launch = launch.option(environment::modules().to_str().unwrap());
        let launch = launch.option("--exec").option("nproc; cat /proc/cmdline");
        let launch = launch.option("--warm").option(directory.to_str().unwrap());
        options.iter().fold(launch, |launch, option| launch.option(option)).done()
    };
    run(&[]).well();
    run(&[]).well();
    assert!(
        made_anew(run(&["--cpus=2"]), "the guest has other options: cpus = 2").starts_with('2')
    );
    assert!(run(&["--cpus=2"]).well().starts_with('2'));
    assert!(made_anew(run(&["word"]), "other options").contains(" word"));
    // The same contents, as another build of the kernel.
    fs::copy(environment::vmlinux(), &kernel).unwrap();
    made_anew(run(&["word"]), "the kernel");
    run(&["word"]).well();
    fs::remove_file(directory.join("state.json")).unwrap();
    made_anew(run(&["word"]), "state.json");
    run(&["word"]).well();
}

#[test]
fn what_cannot_be_a_warm_start_is_refused() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("warm");
    let disk = image(&scratch, "disk", MIB);
    let refusal = warm(&directory, "true").option(&format!("--block={}", disk.display())).done();
    refusal.one_line(1, "use the disk with \",ro\" or \",cow\"");
    let kept = format!("--block={},cow={}.cow", disk.display(), disk.display());
    warm(&directory, "true").option(&kept).done().one_line(1, "is kept");
    let mine = scratch.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("notes"), "").unwrap();
    warm(&mine, "true").done().one_line(1, "--warm has not made it");
    // A snapshot of the user is not replaced either.
    fs::write(mine.join("manifest.json"), "{}").unwrap();
    fs::remove_file(mine.join("notes")).unwrap();
    warm(&mine, "true").done().one_line(1, "--warm has not made it");
    fs::write(mine.join("notes"), "").unwrap();
    assert!(mine.join("notes").exists());
    warm(&scratch.path().join("no/such"), "true").done().one_line(1, "No such file");
    // A guest that fails before it is ready leaves nothing.
    let done = warm(&directory, "true").argument("root=/dev/vdx").done();
    assert_eq!(done.end, End::Status(1));
    assert!(!directory.exists() && !scratch.path().join("warm.tmp").exists());
    // A snapshot of --warm is of no use without a command.
    warm(&directory, "true").done().well();
    let error = tests::lguest(scratch.path(), &["restore", directory.to_str().unwrap()]).one_line();
    assert!(error.contains("give it one with --warm"), "{error}");
}

/// A root disk and a network: both are set up when the guest is saved.
#[test]
fn a_root_disk_and_a_network_are_warm_too() {
    let Some(network) = tests::Network::new() else { return };
    let scratch = Scratch::new();
    let directory = scratch.path().join("warm");
    let root = super::exec::root(&scratch);
    fs::write(root.join("note"), "on the disk\n").unwrap();
    let disk = ext4(&scratch, "disk", 64 * MIB, &[]);
    let run = |command: &str| {
        let launch = warm(&directory, command).option(&format!("--block={},cow", disk.display()));
        launch.option(&format!("--tunnet={HOST}")).argument("root=/dev/vda").argument("rw").done()
    };
    let command = "cat /note; echo changed > /note; cat /proc/net/route | grep -c eth0";
    let first = run(command).well();
    assert!(first.starts_with("on the disk\n"), "{first}");
    // What a run writes is gone with it.
    assert_eq!(run(command).well(), first);
    assert_eq!(run(command).well(), first);
    let mut running = warm(&directory, "echo UP; read line")
        .option(&format!("--block={},cow", disk.display()))
        .option(&format!("--tunnet={HOST}"))
        .argument("root=/dev/vda")
        .argument("rw")
        .piped();
    running.expect("UP\n");
    network.expect_answer(GUEST);
    running.send("done\n");
    assert_eq!(running.wait(), End::Status(0));
}

#[test]
fn many_runs_start_from_one_directory_at_once() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("warm");
    // Nobody has made it: one of these runs does.
    let runs = |count: u32| {
        let mut runs: Vec<_> = (0..count)
            .map(|number| {
                warm(&directory, &format!("cat; exit {number}")).fed(format!("{number}\n"))
            })
            .collect();
        for (number, run) in (0..).zip(&mut runs) {
            assert_eq!(run.wait(), End::Status(number), "{}", run.stderr());
            assert_eq!(run.stderr(), "");
        }
    };
    runs(3);
    let saved = sums(&directory);
    runs(20);
    assert_eq!(sums(&directory), saved);
    assert!(!scratch.path().join("warm.tmp").exists());
}

#[test]
fn a_terminal_has_the_size_of_this_run() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("warm");
    warm(&directory, "true").done().well();
    let mut running = warm(&directory, "stty size; tty; read line").option("--tty").on_terminal();
    running.expect("30 100\r\n/dev/pts/0\r\n");
    running.pty().resize(40, 132);
    running.send("x\r");
    assert_eq!(running.wait(), End::Status(0));
    until("nothing is left", || (!scratch.path().join("warm.tmp").exists()).then_some(()));
}
