//! The bash that a page's commands are typed into.

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

/// Reads commands, each ended by a NUL, from its stdin. The number of a command names the
/// files of its output and, when it has ended, of its status. Its stdin is empty: nobody
/// sits there.
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

/// A bash in an empty directory, with `vmlinuz`, `modules` and `initramfs` there, the kernel, its
/// modules and the initial file system of `make guest`, and `lguest` in its PATH. Its network and its
/// processes are its own, so that what a page does to the host is not done to this one,
/// and ends with it.
#[derive(Debug)]
pub struct Shell {
    bash: Child,
    typed: ChildStdin,
    scratch: Scratch,
    number: usize,
}

impl Shell {
    /// A new one; for a user who may not have one, the test is skipped.
    #[must_use]
    #[track_caller]
    pub fn start() -> Option<Self> {
        if !is_root("what pages do to the host") {
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
        // Copies, for the user that a page becomes: a home is its owner's alone.
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

    /// Type this, wait until it is done; what it printed, and its status.
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

    /// Make a file where the commands are run.
    #[track_caller]
    pub fn file(&self, name: &str, contents: &str) {
        fs::write(self.scratch.path().join("work").join(name), contents).or_fail("writing a file");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The first of its processes goes with unshare, and takes the others with it.
        let unshare = Process(self.bash.id().cast_signed());
        unshare.signal_group(Signal::SIGKILL);
        let _ = self.bash.wait();
    }
}
