//! `lguest exec`: more commands in a guest that runs.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread::Builder;

use tests::files::Scratch;
use tests::{End, Guest, Launch, PROMPT, Running, environment, until};

/// A guest of `--exec` with this name, whose command waits for a line.
fn waiting(name: &str) -> Running {
    let launch = Launch::exec("echo UP; read line; echo $line");
    let mut running = launch.option(&format!("--name={name}")).piped();
    running.expect("UP\n");
    running
}

#[test]
fn a_command_has_its_own_streams_and_status() {
    let mut running = waiting("one");
    let said = running.lguest(&["exec", "one", "echo out; echo err >&2; exit 7"]);
    assert_eq!(said.status, Some(7));
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("out\n", "err\n"));
    // Words are joined as ssh joins them, and options belong to the command.
    assert_eq!(running.lguest(&["exec", "one", "ls", "-d", "/proc"]).well(), "/proc\n");
    assert_eq!(running.lguest(&["exec", "one", "kill -9 $$"]).status, Some(137));
    // Input that never ends, for commands that end: output and status are there.
    for (command, status, output) in [
        ("head -n 1", 0, b"y\n".to_vec()),
        (
            "seq 1 20000; exit 3",
            3,
            (1..=20_000).flat_map(|n| format!("{n}\n").into_bytes()).collect(),
        ),
    ] {
        let mut yes = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
        let mut exec = Command::new(environment::launcher());
        exec.args(["exec", "one", command]).env("XDG_RUNTIME_DIR", running.runtime());
        let done = exec.stdin(yes.stdout.take().unwrap()).output().unwrap();
        drop(exec);
        yes.wait().unwrap();
        assert_eq!((done.status.code(), done.stdout), (Some(status), output), "{command}");
    }
    let error = running.lguest(&["exec", "none", "true"]).one_line();
    assert!(error.contains("no guest none"), "{error}");
    running.send("go\n");
    running.expect("go\n");
    assert_eq!(running.wait(), End::Status(0));
    assert_eq!(running.stderr(), "");
}

/// Starts `lguest exec` between pipes.
fn started(running: &Running, command: &str) -> std::process::Child {
    let mut exec = Command::new(environment::launcher());
    exec.args(["exec", "one", command]).env("XDG_RUNTIME_DIR", running.runtime());
    exec.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn several_commands_run_at_once_and_a_slow_one_holds_up_nobody() {
    let mut running = waiting("one");
    // Nobody reads this one's output, and this one reads no input.
    let full = started(&running, "yes");
    let mut idle = started(&running, "sleep 1000");
    let mut input = idle.stdin.take().unwrap();
    let feeding = Builder::new().name("feeding".into());
    let feeding = feeding.spawn(move || while input.write_all(&[b'x'; 4096]).is_ok() {}).unwrap();
    let mut all: Vec<_> = (0..5)
        .map(|number| {
            let command = format!("sum=$(md5sum); echo {number} $sum; seq 1 20000 | md5sum");
            let mut exec = started(&running, &command);
            exec.stdin.take().unwrap().write_all(&vec![b'0' + number; 100_000]).unwrap();
            exec
        })
        .collect();
    let wanted = |number: u8| {
        let sum = md5(&vec![b'0' + number; 100_000]);
        let numbers: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
        format!("{number} {sum} -\n{}  -\n", md5(numbers.as_bytes()))
    };
    for (number, exec) in (0..).zip(all.drain(..)) {
        let output = exec.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted(number));
        assert!(output.status.success());
    }
    // Clients that leave hang up.
    for mut exec in [full, idle] {
        exec.kill().unwrap();
        exec.wait().unwrap();
    }
    feeding.join().unwrap();
    until("both commands have ended", || {
        let left = running.lguest(&["exec", "one", "pidof yes sleep || :"]).well();
        left.trim().is_empty().then_some(())
    });
    running.send("go\n");
    assert_eq!(running.wait(), End::Status(0));
}

fn md5(bytes: &[u8]) -> String {
    let mut program =
        Command::new("md5sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    program.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = program.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_string()
}

#[test]
fn a_command_may_have_a_terminal() {
    let mut running = waiting("one");
    let mut session = exec_on_terminal(&running, &["-t", "one", "stty size; tty; exec sh"]);
    session.expect("30 100\r\n/dev/pts/0\r\n");
    session.send("echo $((6*7))\r");
    session.expect("42\r\n");
    session.pty().resize(40, 132);
    until("the guest has the size", || {
        session.send("stty size\r");
        session.expect("\r\n");
        session.text().contains("40 132").then_some(())
    });
    // ^C is a key of the command.
    session.send("sleep 1000\r");
    session.send("\u{3}");
    session.send("exit 9\r");
    assert_eq!(session.wait(), End::Status(9));
    let mut session = exec_on_terminal(&running, &["-t", "one", "echo UP; sleep 1000"]);
    session.expect("UP\r\n");
    session.send("\u{1d}");
    assert_eq!(session.wait(), End::Status(0));
    assert!(session.stderr().contains("left the command"), "{}", session.stderr());
    until("the command has ended", || {
        let left = running.lguest(&["exec", "one", "pidof sleep || :"]).well();
        left.trim().is_empty().then_some(())
    });
    running.send("go\n");
    assert_eq!(running.wait(), End::Status(0));
}

/// Starts `lguest exec` with these words on a terminal.
fn exec_on_terminal(running: &Running, words: &[&str]) -> Running {
    let runtime = format!("XDG_RUNTIME_DIR={}", running.runtime().display());
    let launcher = environment::launcher();
    let mut all = vec!["env", &runtime, launcher.to_str().unwrap(), "exec"];
    all.extend(words);
    tests::program(&all, std::path::Path::new("/"), tests::Pty::new(30, 100))
}

#[test]
fn a_guest_that_ends_takes_its_commands_with_it() {
    let mut running = waiting("one");
    let mut exec = started(&running, "echo UP; sleep 1000");
    let mut line = [0; 3];
    exec.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"UP\n");
    running.send("go\n");
    assert_eq!(running.wait(), End::Status(0));
    let output = exec.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the guest has ended before the command"), "{stderr}");
}

#[test]
fn a_guest_without_an_agent_refuses_commands() {
    let mut guest = Guest::of(Launch::linux().option("--name=one").on_terminal());
    let error = guest.lguest(&["exec", "one", "true"]).one_line();
    assert!(error.contains("start it with --exec or --agent"), "{error}");
    assert_eq!(guest.power_off(), End::Status(0));
}

/// The guest has a shell of its own on hvc0, which the agent is beside.
#[test]
fn an_agent_runs_beside_the_guests_own_init() {
    let launch = Launch::linux().option("--agent").option("--name=one");
    let mut guest = Guest::of(launch.on_terminal());
    guest.run("echo note > /tmp/note; mount -t tmpfs none /mnt; echo there > /mnt/file");
    assert_eq!(guest.lguest(&["exec", "one", "cat /tmp/note /mnt/file"]).well(), "note\nthere\n");
    let ids = guest.lguest(&["exec", "one", "cat /proc/1/comm; echo $$ > /tmp/pid"]).well();
    assert_eq!(ids, format!("{}\n", guest.run("cat /proc/1/comm")));
    // A snapshot of a guest that runs no command has the agent.
    let scratch = Scratch::new();
    let saved = scratch.path().join("saved");
    guest.lguest(&["snapshot", "one", saved.to_str().unwrap()]).well();
    // The agent of a guest that reboots is a new one.
    guest.type_line("reboot -f");
    guest.expect(PROMPT);
    assert_eq!(guest.lguest(&["exec", "one", "ls /tmp"]).well(), "");
    assert_eq!(guest.power_off(), End::Status(0));
    let mut guest = Guest::continued(Launch::restore(&saved).option("--name=one").on_terminal());
    assert_eq!(guest.lguest(&["exec", "one", "cat /tmp/note"]).well(), "note\n");
    assert_eq!(guest.power_off(), End::Status(0));
    assert_eq!(guest.stderr(), "");
}

/// A root disk without an initial file system: its own init runs, and the agent is in its root.
#[test]
fn an_agent_runs_beside_the_init_of_a_root_disk() {
    let scratch = Scratch::new();
    let root = super::guests::root(&scratch);
    fs::create_dir(root.join("sbin")).unwrap();
    fs::create_dir(root.join("mnt")).unwrap();
    let init = "#!/bin/sh\nmount -t proc proc /proc\necho own init \"$@\"\nexec sh\n";
    fs::write(root.join("sbin/init"), init).unwrap();
    fs::set_permissions(root.join("sbin/init"), Permissions::from_mode(0o755)).unwrap();
    let disk = super::super::block::ext4(&scratch, "disk", 64 << 20, &[]);
    let modules = environment::modules();
    let launch = Launch::kernel(environment::vmlinux())
        .option(&format!("--modules={}", modules.display()))
        .option(&format!("--block={},cow", disk.display()))
        .option("--agent")
        .option("--name=one")
        .argument("root=/dev/vda")
        .argument("rw");
    let mut running = launch.on_terminal();
    running.expect("own init");
    let said = running.lguest(&["exec", "one", "ls -d /sbin/init /lost+found; pwd"]).well();
    assert_eq!(said, "/lost+found\n/sbin/init\n/\n");
    running.lguest(&["kill", "one"]).well();
    assert_eq!(running.wait(), End::Status(137));
}

/// Without an init of its own, the guest only runs commands.
#[test]
fn an_agent_alone_is_a_guest_for_commands() {
    let modules = environment::modules();
    let launch = Launch::kernel(environment::vmlinux())
        .option(&format!("--modules={}", modules.display()))
        .option("--agent")
        .option("--name=one")
        .option("--console=null");
    let mut running = launch.piped();
    // The command waits until the guest is ready.
    until("the guest has a name", || {
        running.lguest(&["list"]).stdout.contains("one").then_some(())
    });
    assert_eq!(running.lguest(&["exec", "one", "cat /proc/1/comm"]).well(), "init\n");
    running.lguest(&["exec", "one", "echo o > /proc/sysrq-trigger; sleep 1000"]);
    assert_eq!(running.wait(), End::Status(0));
}
