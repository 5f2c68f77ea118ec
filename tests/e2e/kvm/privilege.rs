//! `--username` and `--chroot`: the privileges of each thread and of the terminal's guard while the
//! guest runs, as /proc shows them; and that everything works without privileges.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::unistd::User;
use tests::files::Scratch;
use tests::{End, Launch, Network, Process, Running, environment, patience, until, within};

use super::probe;

/// A user of every Debian system, who owns nothing.
const NOBODY: &str = "nobody";

/// Launches a guest with everything that can be opened, so that it is opened before privileges are
/// dropped.
fn confined(kernel: &Path, root: &Path) -> Launch {
    let disk = root.with_extension("disk");
    fs::write(&disk, [0; 4096]).unwrap();
    Launch::kernel(kernel)
        .memory("64")
        .argument("mode=console")
        .option(&format!("--block={}", disk.display()))
        .option("--rng")
        .option("--username")
        .option(NOBODY)
        .option(&format!("--chroot={}", root.display()))
}

/// Returns an empty directory for `--chroot`, in a directory of the test. `None` without root.
pub(super) fn new_root() -> Option<(Scratch, PathBuf)> {
    is_root().then(Scratch::new).map(|scratch| {
        let root = scratch.path().join("root");
        fs::create_dir(&root).unwrap();
        (scratch, root)
    })
}

/// Starts it on a terminal, and waits until the guest runs. By then it has dropped its privileges.
#[track_caller]
fn started(launch: &Launch) -> Running {
    let mut running = launch.on_terminal();
    running.expect("hello 100x30");
    running
}

/// Makes the guest power off.
#[track_caller]
fn power_off(running: &mut Running) {
    running.send([0x1e, b'p']);
    assert_ended(running, End::Status(0));
}

/// Asserts that the launcher ends like this, restores the terminal and leaves no process.
#[track_caller]
fn assert_ended(running: &mut Running, end: End) {
    assert_eq!(running.wait(), end);
    running.assert_terminal_restored();
    running.assert_no_process_left();
}

/// Returns the distinct credentials of all threads, from /proc/PID/status.
fn credentials(process: Process) -> Vec<String> {
    let wanted =
        ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp"];
    let threads = fs::read_dir(process.file("task")).unwrap();
    let mut all: Vec<_> = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok())
        .map(|status| {
            let lines = status.lines().filter(|line| {
                line.split_once(':').is_some_and(|(name, _)| wanted.contains(&name))
            });
            lines.map(|line| line.replace('\t', " ").trim_end().to_string() + "\n").collect()
        })
        .collect();
    all.dedup();
    all
}

/// Waits until all threads have these credentials. The guard process may need a moment.
#[track_caller]
fn assert_becomes(process: Process, wanted: &str) {
    let _ = within(patience(), || (credentials(process) == [wanted]).then_some(()));
    assert_eq!(credentials(process), [wanted], "{:?}", process.threads());
}

/// Returns the credentials of a user without privileges and supplementary groups.
fn nobody() -> String {
    let user = User::from_name(NOBODY).unwrap().unwrap();
    let (uid, gid) = (user.uid, user.gid);
    let set = |name| format!("Cap{name}: 0000000000000000\n");
    format!(
        "Uid: {uid} {uid} {uid} {uid}\nGid: {gid} {gid} {gid} {gid}\nGroups:\n\
         {}NoNewPrivs: 1\nSeccomp: 2\n",
        ["Inh", "Prm", "Eff", "Amb"].map(set).concat()
    )
}

/// Whether the tests run as root. If not, this skips the test.
#[track_caller]
pub(super) fn is_root() -> bool {
    tests::is_root("giving up privilege")
}

#[track_caller]
fn reboot(running: &mut Running) {
    running.send([0x1e, b'r']);
    running.expect("hello 100x30");
}

#[test]
fn no_thread_and_no_guard_keeps_privileges_of_root() {
    let Some((_scratch, root)) = new_root() else { return };
    let Some(_network) = Network::new() else { return };
    let launch = confined(&environment::probe(), &root).option("--tunnet=192.168.19.1");
    let mut running = started(&launch);
    let launcher = running.process();
    let family = running.family();
    let guards: Vec<_> = family.iter().filter(|process| **process != launcher).collect();
    assert_eq!(guards.len(), 1);
    // The guest runs, so privileges must have been dropped.
    assert_eq!(credentials(launcher), [nobody()], "{:?}", launcher.threads());
    for process in &family {
        assert_becomes(*process, &nobody());
        for link in ["root", "cwd"] {
            let found = fs::read_link(process.file(link)).unwrap();
            assert_eq!(found, root, "{link} of {:?}", process.threads());
        }
        // A directory outside of the root would be a way out.
        for entry in fs::read_dir(process.file("fd")).unwrap() {
            assert!(!entry.unwrap().path().is_dir(), "{:?}", process.descriptors());
        }
    }
    assert!(launcher.threads().contains(&"netlink".to_string()), "{:?}", launcher.threads());

    power_off(&mut running);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn a_launcher_that_would_stay_root_is_refused() {
    let Some((_scratch, root)) = new_root() else { return };
    let chroot = format!("--chroot={}", root.display());
    let words = "lguest would still be root, who can end every process of root's: give --username";
    refuses(&probe("console").option(&chroot), words);
    refuses(&probe("console").option("--username=root"), "--username root: that is root itself");
    // A stream that is a directory would be a way out of the new root.
    let launch = probe("console").option(&chroot).option("--username=nobody");
    let mut running = launch.wired(File::open("/").unwrap(), Stdio::null());
    assert_eq!(running.wait(), End::Status(1));
    assert!(running.stderr().contains("stdin is a directory, which would be a way out"));
}

#[test]
fn username_works_without_chroot() {
    if !is_root() {
        return;
    }
    let mut running = started(&probe("console").option("--username").option(NOBODY));
    for process in running.family() {
        assert_becomes(process, &nobody());
        assert_eq!(fs::read_link(process.file("root")).unwrap(), Path::new("/"));
    }
    power_off(&mut running);
}

#[test]
fn a_reboot_uses_the_files_that_were_opened_at_the_start() {
    let Some((scratch, root)) = new_root() else { return };
    let kernel = scratch.file("kernel", fs::read(environment::probe()).unwrap());
    let mut running = started(&confined(&kernel, &root));
    reboot(&mut running);
    // A new file of that name is not seen, because nothing outside is.
    fs::remove_file(&kernel).unwrap();
    fs::write(&kernel, "no kernel").unwrap();
    reboot(&mut running);
    power_off(&mut running);
}

#[test]
fn a_reboot_sees_new_contents_of_the_kernel_file() {
    let Some((scratch, root)) = new_root() else { return };
    let kernel = scratch.file("kernel", fs::read(environment::probe()).unwrap());
    let mut running = started(&confined(&kernel, &root));
    fs::write(&kernel, "no kernel").unwrap();
    running.send([0x1e, b'r']);
    assert_ended(&mut running, End::Status(1));
    assert!(running.stderr().contains("kernel: not a Linux kernel"), "{}", running.stderr());
}

#[test]
fn every_ending_restores_the_terminal_without_privileges() {
    let Some((_scratch, root)) = new_root() else { return };
    let ways = [(Signal::SIGTERM, End::Status(143)), (Signal::SIGKILL, End::Killed(9))];
    for (signal, end) in ways {
        let mut running = started(&confined(&environment::probe(), &root));
        assert!(running.pty().snapshot().is_raw());
        running.process().signal(signal);
        assert_ended(&mut running, end);
    }
    let mut running = started(&confined(&environment::probe(), &root));
    running.press_three_ctrl_c();
    assert_ended(&mut running, End::Status(130));
}

#[test]
fn a_crash_report_is_the_same_after_a_chroot() {
    // The report needs facts about /dev/kvm, which cannot be opened after the chroot.
    let Some((_scratch, root)) = new_root() else { return };
    let end = |launch: Launch| {
        let mut running = launch.piped();
        let end = running.wait();
        (end, running.stderr())
    };
    let (free, words) = end(probe("crash=emulation"));
    let launch = probe("crash=emulation").option("--username").option(NOBODY);
    let (bound, bound_words) = end(launch.option(&format!("--chroot={}", root.display())));
    assert_eq!(bound, free);
    let last = |words: &str| words.lines().last().map(str::to_string);
    assert_eq!(last(&bound_words), last(&words));
}

#[track_caller]
fn refuses(launch: &Launch, words: &str) {
    assert_refused(&mut launch.on_terminal(), words);
}

#[track_caller]
fn assert_refused(running: &mut Running, words: &str) {
    assert_eq!(running.wait_refused(words), End::Status(1));
    running.assert_nothing_left();
}

#[test]
fn impossible_users_and_roots_are_refused() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let launch = || probe("poweroff");
    let chroot = |root: &Path| launch().option(&format!("--chroot={}", root.display()));
    refuses(&launch().option("--username=nobody-at-all"), "--username nobody-at-all: no such user");
    refuses(&chroot(&scratch.path().join("missing")), "missing: no such directory");
    refuses(&chroot(&scratch.file("file", "")), "file: it is not a directory");
    // lguest checks the files before it can no longer open them.
    let bare = Launch::kernel("/nonexistent").option(&format!("--username={NOBODY}"));
    refuses(&bare, "lguest: /nonexistent: no such file");
    let initrd = launch().option(&format!("--username={NOBODY}")).initrd("/nonexistent");
    refuses(&initrd, "lguest: initrd /nonexistent: no such file");
}

#[test]
fn only_root_can_use_username() {
    let Some((scratch, root)) = new_root() else { return };
    for (option, words) in [
        (format!("--username={NOBODY}"), "--username nobody: only root can become another user"),
        (format!("--chroot={}", root.display()), "only root can change the root directory"),
    ] {
        let launcher = scratch.launcher_for_all();
        let setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", &launcher];
        let words_of_it = [&setpriv[..], &["64", "/dev/null", &option]].concat();
        let mut running = tests::program(&words_of_it, scratch.path(), tests::Pty::new(30, 100));
        assert_refused(&mut running, words);
    }
}

#[test]
fn an_early_error_does_not_wait_for_the_guard() {
    if !is_root() {
        return;
    }
    // The launcher fails right after it has become another user. The guard may have done so or not;
    // it must end either way.
    let scratch = Scratch::new();
    let kernel = scratch.file("kernel", "no kernel");
    for _ in 0..20 {
        let launch = Launch::kernel(&kernel).option(&format!("--username={NOBODY}"));
        let mut running = launch.on_terminal();
        let end = until("the launcher ends", || running.poll_end());
        assert_eq!(end, End::Status(1));
        running.assert_no_process_left();
    }
}
