//! Descriptors other than stdin, stdout and stderr that are open when lguest is started. lguest
//! closes them with `--detach`, and when it drops privileges.

use std::fs::{self, File};
use std::path::Path;

use tests::files::Scratch;
use tests::{End, Pty, Running, environment, program, until};

use super::privilege::new_root;
use super::probe;

/// Runs this line in a shell.
fn shell(line: &str, scratch: &Scratch) -> Running {
    program(&["sh", "-c", line], scratch.path(), Pty::new(30, 100))
}

#[test]
fn a_detached_launcher_holds_no_lock_and_no_pipe_of_its_script() {
    let scratch = Scratch::new();
    let (lock, done) = (scratch.path().join("lock"), scratch.path().join("done"));
    let line = probe("console").option("--detach").option("--name=web").shell_line();
    // The reader of the pipe ends when no process can write to it.
    let line = format!(
        "exec 9> {}; flock 9; {{ {line} && echo started >&8; }} 8>&1 | cat > {}",
        lock.display(),
        done.display()
    );
    let mut running = shell(&line, &scratch);
    assert_eq!(running.wait(), End::Status(0));
    assert_eq!(fs::read_to_string(done).unwrap(), "web\nstarted\n");
    File::open(&lock).unwrap().try_lock().unwrap();
    running.lguest(&["stop", "web"]).well();
    running.assert_nothing_left();
}

/// lguest opens the files before it closes descriptors, and keeps them for every restart.
#[test]
fn files_may_be_named_by_a_descriptor() {
    let scratch = Scratch::new();
    let launch = tests::Launch::kernel("/dev/fd/9").memory("64").argument("mode=console");
    let launch = launch.option("--block=/dev/fd/8").option("--detach").option("--name=web");
    let disk = scratch.file("disk", [0; 4096]);
    let probe = environment::probe();
    let line = format!(
        "exec {} 9< {} 8<> {}",
        launch.shell_line(),
        environment::quoted(&probe),
        disk.display()
    );
    let mut running = shell(&line, &scratch);
    assert_eq!(running.wait(), End::Status(0), "{}", running.stderr());
    let has_printed = |what: &str| {
        let log = || running.lguest(&["log", "web"]).stdout;
        until("the guest has printed", || (log() == what).then_some(()));
    };
    has_printed("hello 80x24\n");
    running.lguest(&["reset", "web"]).well();
    has_printed("hello 80x24\nhello 80x24\n");
    running.lguest(&["stop", "web"]).well();
    running.assert_nothing_left();
}

#[test]
fn no_directory_is_open_after_a_chroot() {
    let Some((scratch, root)) = new_root() else { return };
    let launch = probe("console").option("--username=nobody");
    let line = launch.option(&format!("--chroot={}", root.display())).shell_line();
    let mut running = shell(&format!("exec 7< / 9< {}; exec {line}", root.display()), &scratch);
    running.expect("hello 100x30");
    for process in running.family() {
        let open = fs::read_dir(process.file("fd")).unwrap();
        let open: Vec<_> = open.filter_map(|it| fs::read_link(it.unwrap().path()).ok()).collect();
        for directory in [Path::new("/"), &root] {
            assert!(!open.iter().any(|it| it == directory), "{open:?}");
        }
    }
    running.send([0x1e, b'p']);
    assert_eq!(running.wait(), End::Status(0));
}
