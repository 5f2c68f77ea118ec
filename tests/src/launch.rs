//! Starts a launcher: which guest, with which options, on what. Each chain of calls ends with a
//! [`Running`].

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::environment;
use crate::files::{self, Scratch};
use crate::running::{Connection, RUNTIME, Running};
use crate::sys::{self, Session};
use crate::terminal::Pty;
use crate::wait::OrFail;

/// The window of a test's terminal: rows and columns, which differ so that no test can confuse
/// them.
const WINDOW: (u16, u16) = (30, 100);

/// A command line of the launcher.
#[derive(Debug, Clone)]
pub struct Launch {
    /// A snapshot, from which the guest continues instead of booting.
    snapshot: Option<PathBuf>,
    memory: String,
    kernel: PathBuf,
    initrds: Vec<PathBuf>,
    options: Vec<String>,
    arguments: Vec<String>,
    closed: Option<i32>,
    runtime: Option<Option<PathBuf>>,
}

impl Launch {
    /// A launch of this kernel with 512 MiB of memory.
    #[must_use]
    pub fn kernel(kernel: impl Into<PathBuf>) -> Self {
        Self {
            snapshot: None,
            memory: "512".into(),
            kernel: kernel.into(),
            initrds: Vec::new(),
            options: Vec::new(),
            arguments: Vec::new(),
            closed: None,
            runtime: None,
        }
    }

    /// `lguest restore` of this snapshot.
    #[must_use]
    pub fn restore(snapshot: impl Into<PathBuf>) -> Self {
        Self { snapshot: Some(snapshot.into()), ..Self::kernel("") }
    }

    /// A launch of Linux with a shell, from the unpacked kernel.
    #[must_use]
    #[track_caller]
    pub fn linux() -> Self {
        Self::kernel(environment::vmlinux()).initrd(environment::initramfs())
    }

    /// A launch of Linux that runs a script instead of starting a shell, and then powers off.
    #[must_use]
    #[track_caller]
    pub fn job(script: &str, scratch: &Scratch) -> Self {
        Self::linux().initrd(scratch.file("job", files::job(script))).argument("rdinit=/job")
    }

    /// Sets the size of the memory.
    #[must_use]
    pub fn memory(mut self, memory: &str) -> Self {
        self.memory = memory.into();
        self
    }

    /// Adds an initial file system.
    #[must_use]
    pub fn initrd(mut self, initrd: impl Into<PathBuf>) -> Self {
        self.initrds.push(initrd.into());
        self
    }

    /// Adds an option.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.into());
        self
    }

    /// Adds a word to the kernel command line.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts the launcher with this descriptor closed, as `<&-` does.
    #[must_use]
    pub fn closed(mut self, descriptor: i32) -> Self {
        self.closed = Some(descriptor);
        self
    }

    /// Sets the directory below which the launcher creates the guest's directory; `None` leaves the
    /// variable unset.
    #[must_use]
    pub fn runtime(mut self, directory: Option<&Path>) -> Self {
        self.runtime = Some(directory.map(Path::to_path_buf));
        self
    }

    /// The words of the command line, the launcher first.
    #[must_use]
    #[track_caller]
    pub fn words(&self) -> Vec<OsString> {
        let mut words = vec![environment::launcher().into()];
        match &self.snapshot {
            Some(snapshot) => words.extend(["restore".into(), snapshot.into()]),
            None => words.extend([self.memory.clone().into(), self.kernel.clone().into()]),
        }
        for initrd in &self.initrds {
            words.extend(["--initrd".into(), initrd.clone().into()]);
        }
        words.extend(self.options.iter().map(OsString::from));
        words.extend(self.arguments.iter().map(OsString::from));
        words
    }

    /// The command line as a shell reads it.
    #[must_use]
    #[track_caller]
    pub fn shell_line(&self) -> String {
        let mut line = String::new();
        for word in self.words() {
            // Cannot fail: a String grows.
            let _ = write!(line, "{} ", environment::quoted(Path::new(&word)));
        }
        line.trim_end().to_string()
    }

    /// Start it on a new terminal, with the test as the user.
    #[track_caller]
    pub fn on_terminal(&self) -> Running {
        self.on(Pty::new(WINDOW.0, WINDOW.1))
    }

    /// Start it on this terminal, which it controls as a login shell's child does.
    #[track_caller]
    pub fn on(&self, pty: Pty) -> Running {
        on_terminal(self.command(), pty, Session::OnItsTerminal)
    }

    /// Start it on this terminal, which is nobody's controlling terminal.
    #[track_caller]
    pub fn on_foreign(&self, pty: Pty) -> Running {
        on_terminal(self.command(), pty, Session::WithoutTerminal)
    }

    /// Start it between two pipes. The test has the other ends.
    #[track_caller]
    pub fn piped(&self) -> Running {
        self.wired(Stdio::piped(), Stdio::piped())
    }

    /// Start it with a pipe on stdin, which contains these bytes and then ends, and a pipe on
    /// stdout.
    #[track_caller]
    pub fn fed(&self, input: impl Into<Vec<u8>>) -> Running {
        let mut running = self.piped();
        let (mut pipe, input) = (running.take_input(), input.into());
        thread::Builder::new()
            .name("feeder".into())
            // A launcher may end before it has read all of its input.
            .spawn(move || drop(pipe.write_all(&input)))
            .or_fail("starting a thread");
        running
    }

    /// Start it with this stdin and stdout.
    #[track_caller]
    pub fn wired(&self, stdin: impl Into<Stdio>, stdout: impl Into<Stdio>) -> Running {
        let mut command = self.command();
        command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        sys::in_session(&mut command, Session::WithoutTerminal);
        if let Some(descriptor) = self.closed {
            sys::with_closed(&mut command, descriptor);
        }
        Running::start(command, Connection::Pipes)
    }

    #[track_caller]
    fn command(&self) -> Command {
        let words = self.words();
        let mut words = words.iter();
        let mut command = Command::new(words.next().or_fail("finding the launcher"));
        command.args(words);
        match &self.runtime {
            Some(Some(directory)) => drop(command.env(RUNTIME, directory)),
            Some(None) => drop(command.env_remove(RUNTIME)),
            None => {}
        }
        command
    }
}

/// Start another program on this terminal: a shell, tmux, script.
#[track_caller]
#[must_use]
pub fn program(words: &[&str], directory: &Path, pty: Pty) -> Running {
    let [program, arguments @ ..] = words else { panic!("no program to start") };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    on_terminal(command, pty, Session::OnItsTerminal)
}

#[track_caller]
fn on_terminal(mut command: Command, pty: Pty, session: Session) -> Running {
    command.stdin(pty.slave()).stdout(pty.slave()).stderr(Stdio::piped());
    sys::in_session(&mut command, session);
    Running::start(command, Connection::Terminal(pty))
}

/// Returns a word that marks the environment of one launcher.
pub(crate) fn new_mark() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}", std::process::id())
}
