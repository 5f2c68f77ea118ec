//! Starts the bash into which a page's commands are typed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::Signal;

use crate::files::Scratch;
use crate::skip::is_root;
use crate::wait::{OrFail, patience, within};
use crate::{Process, environment};

/// This loop reads commands from stdin, each ended by a NUL. It writes the output of command N to
/// the file output.N and then the exit status to the file status.N. The commands themselves have an
/// empty stdin.
const LOOP: &str = r#"
exec 3<&0 < /dev/null
number=0
while IFS= read -r -d '' typed <&3; do
    eval "$typed" > "$SAID/output.$number" 2>&1 3<&-
    echo $? > "$SAID/ending"
    mv "$SAID/ending" "$SAID/status.$number"
    number=$((number + 1))
done
"#;

/// A bash in a directory that contains `vmlinuz`, `modules` and `initramfs`: the kernel, its
/// modules and the initial file system of `make guest`. `lguest` is in its PATH. The bash has its
/// own network and process namespaces, so that the commands of a page do not change this host, and
/// end with it.
#[derive(Debug)]
pub struct Shell {
    bash: Child,
    typed: ChildStdin,
    scratch: Scratch,
    number: usize,
}

impl Shell {
    /// Starts a bash. Skips the test and returns `None` without root.
    #[must_use]
    #[track_caller]
    pub fn start() -> Option<Self> {
        if !is_root("commands of pages that change the host") {
            return None;
        }
        let scratch = Scratch::new();
        let path = |name: &str| scratch.path().join(name);
        for directory in ["work", "bin", "run", "said"] {
            fs::create_dir(path(directory)).or_fail("making a directory");
        }
        let files = [
            (environment::launcher(), "bin/lguest"),
            (environment::bzimage(), "work/vmlinuz"),
            (environment::initramfs(), "work/initramfs"),
        ];
        // These are copies, because a page may run lguest as another user, who cannot read the home
        // directory.
        for (file, name) in files {
            fs::copy(file, path(name)).or_fail("copying a file");
        }
        symlink(environment::modules(), path("work/modules")).or_fail("making a link");
        for directory in [scratch.path(), &path("work"), &path("bin")] {
            let all = fs::Permissions::from_mode(0o755);
            fs::set_permissions(directory, all).or_fail("opening a directory to all");
        }
        let paths = std::env::var("PATH").unwrap_or_default();
        let unshare = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
        let mut bash = Command::new("unshare")
            .args(unshare)
            .args(["bash", "--norc", "--noprofile", "-c", LOOP])
            .current_dir(path("work"))
            .env("PATH", format!("{}:{paths}", path("bin").display()))
            .env("HOME", path("work"))
            .env("XDG_RUNTIME_DIR", path("run"))
            .env("SAID", path("said"))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .or_fail("starting bash");
        let typed = bash.stdin.take().or_fail("finding bash's stdin");
        let mut shell = Self { bash, typed, scratch, number: 0 };
        assert_eq!(shell.type_in("ip link set lo up"), (String::new(), 0));
        Some(shell)
    }

    /// Types a command, waits until it is done, and returns its output and exit status.
    #[track_caller]
    pub fn type_in(&mut self, command: &str) -> (String, i32) {
        self.typed.write_all(command.as_bytes()).or_fail("typing");
        self.typed.write_all(b"\0").or_fail("typing");
        let said = self.scratch.path().join("said");
        let [output, status] =
            ["output", "status"].map(|file| said.join(format!("{file}.{}", self.number)));
        self.number += 1;
        // Some commands boot a guest.
        let ending = within(patience() * 2, || match fs::read_to_string(&status) {
            Ok(status) => Some(status),
            Err(_) => self.bash.try_wait().ok()?.map(|_| String::new()),
        });
        let output = String::from_utf8_lossy(&fs::read(output).unwrap_or_default()).into_owned();
        match ending.map(|status| status.trim_end().parse()) {
            Some(Ok(status)) => (output, status),
            Some(Err(_)) => panic!("{command}\nhas ended the shell. It printed\n{output}"),
            None => panic!("{command}\ndoes not end. It printed\n{output}"),
        }
    }

    /// Creates a file in the directory in which the commands run.
    #[track_caller]
    pub fn file(&self, name: &str, contents: &str) {
        fs::write(self.scratch.path().join("work").join(name), contents).or_fail("writing a file");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // unshare ends with its first process, and the kernel then kills the others.
        let unshare = Process(self.bash.id().cast_signed());
        unshare.signal_group(Signal::SIGKILL);
        let _ = self.bash.wait();
    }
}
