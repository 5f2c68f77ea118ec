//! A running launcher: what the user types, what it prints, how it ends, and what it leaves behind.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::files::{self, Scratch};
use crate::launch::new_mark;
use crate::process::{Process, Thread, marked};
use crate::sys;
use crate::terminal::{Pty, Snapshot};
use crate::transcript::Transcript;
use crate::wait::{OrFail, patience, until, within};

/// The key ^C.
const CTRL_C: u8 = 0x03;

/// Three ^C within this time end a guest.
pub const CTRL_C_WINDOW: Duration = Duration::from_secs(1);

/// The variable that marks a launcher and its children.
const MARK: &str = "LGUEST_TEST_MARK";

/// The variable that names the directory below which guests have their directories.
pub(crate) const RUNTIME: &str = "XDG_RUNTIME_DIR";

/// How a launcher ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The launcher exited with this status.
    Status(i32),
    /// This signal killed the launcher.
    Killed(i32),
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Status(code),
            None => Self::Killed(status.signal().unwrap_or(0)),
        }
    }
}

/// What the launcher's stdin and stdout are.
#[derive(Debug)]
pub(crate) enum Connection {
    Terminal(Pty),
    Pipes,
}

/// A launcher, or the program that starts it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    mark: String,
    input: Option<File>,
    output: Option<Transcript>,
    stderr: Option<Transcript>,
    terminal: Option<(Pty, Snapshot)>,
    end: Option<End>,
    /// A runtime directory of its own, so that guests of other tests cannot have the same name.
    runtime: Scratch,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(mut command: Command, connection: Connection) -> Self {
        let mark = new_mark();
        command.env(MARK, &mark);
        let runtime = Scratch::new();
        if command.get_envs().all(|(name, _)| name != RUNTIME) {
            command.env(RUNTIME, runtime.path());
        }
        let terminal = match connection {
            Connection::Terminal(pty) => {
                let before = pty.snapshot();
                Some((pty, before))
            }
            Connection::Pipes => None,
        };
        let mut child = command.spawn().or_fail("starting the launcher");
        // The command keeps copies of the pipes that it was given.
        drop(command);
        let (input, output) = match &terminal {
            Some((pty, _)) => (Some(pty.master()), Some(Transcript::of(pty.master()))),
            None => {
                let input = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
                (input, child.stdout.take().map(Transcript::of))
            }
        };
        let stderr = child.stderr.take().map(Transcript::of);
        let mark = format!("{MARK}={mark}");
        Self { child, mark, input, output, stderr, terminal, end: None, runtime }
    }

    /// The process that was started.
    #[must_use]
    pub fn process(&self) -> Process {
        Process(i32::try_from(self.child.id()).unwrap_or(0))
    }

    /// The directory below which the guest's directory is, unless the launcher was started with
    /// another one.
    #[must_use]
    pub fn runtime(&self) -> &Path {
        self.runtime.path()
    }

    /// The directories of guests that still exist in the runtime directory.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        files::below(&self.runtime().join("lguest"))
    }

    /// The launcher's terminal.
    #[must_use]
    #[track_caller]
    pub fn pty(&self) -> &Pty {
        let (pty, _) = self.terminal.as_ref().or_fail("looking for the launcher's terminal");
        pty
    }

    /// The output of the launcher, as a transcript.
    #[must_use]
    #[track_caller]
    pub fn output(&mut self) -> &mut Transcript {
        self.output.as_mut().or_fail("looking for the launcher's output")
    }

    /// The output of the launcher so far.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> String {
        self.output.as_ref().or_fail("looking for the launcher's output").text()
    }

    /// What the launcher has printed on stderr so far.
    #[must_use]
    #[track_caller]
    pub fn stderr(&self) -> String {
        let stderr = self.stderr.as_ref().or_fail("looking for the launcher's stderr");
        if self.end.is_some() {
            until("stderr is closed", || stderr.has_ended().then_some(()));
        }
        stderr.text()
    }

    /// Waits until the launcher prints this on stderr.
    #[track_caller]
    pub fn expect_stderr(&mut self, text: &str) {
        let stderr = self.stderr.as_mut().or_fail("looking for the launcher's stderr");
        let found = stderr.find(text, patience());
        assert!(found.is_some(), "did not say {text:?} on stderr");
    }

    /// Waits until the launcher prints `text`, and returns what it printed before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        self.expect_within(text, patience())
    }

    /// Waits up to `time` until the launcher prints `text`; see [`Self::expect`].
    #[track_caller]
    pub fn expect_within(&mut self, text: &str, time: Duration) -> String {
        let slice = Duration::from_millis(200);
        let found = within(time, || {
            // Ask this first: when the launcher has ended, all of its output is in the transcript
            // or on its way. A terminal has no end of file.
            let ended = self.poll_end().is_some();
            let time = if ended { patience() } else { slice };
            let output = self.output.as_mut()?;
            let found = output.find(text, time);
            (found.is_some() || ended || output.has_ended()).then_some(found)
        });
        match (found, self.end) {
            (Some(Some(before)), _) => before,
            (_, Some(end)) => panic!("ended with {end:?}, and did not print {text:?}"),
            _ => panic!("did not print {text:?} within {} s", time.as_secs()),
        }
    }

    /// Types these keys, or writes them into the launcher's pipe.
    #[track_caller]
    pub fn send(&mut self, keys: impl AsRef<[u8]>) {
        let input = self.input.as_mut().or_fail("looking for the launcher's input");
        input.write_all(keys.as_ref()).or_fail("writing input");
    }

    /// Sends bytes from another thread: more than a terminal or a pipe holds.
    #[track_caller]
    pub fn send_beside(&mut self, bytes: Vec<u8>) {
        let input = self.input.as_ref().or_fail("looking for the launcher's input");
        let mut input = input.try_clone().or_fail("duplicating input");
        thread::Builder::new()
            .name("sender".into())
            .spawn(move || drop(input.write_all(&bytes)))
            .or_fail("starting a thread");
    }

    /// Presses a key, or writes it into the pipe, and waits until the launcher has handled it. So
    /// the launcher reads the next key separately, however slow the machine is.
    #[track_caller]
    pub fn press(&mut self, key: u8) {
        let reader = self.reader();
        // What is written to a terminal may reach the other end a moment later.
        let has_woken = |(thread, naps): (Thread, u64)| {
            thread.naps().is_none_or(|now| now > naps && thread.sleeps())
        };
        self.send([key]);
        until("the key is taken", || {
            let taken = self.unread() == 0 && reader.is_none_or(has_woken);
            (taken || self.poll_end().is_some()).then_some(())
        });
    }

    /// The thread that reads keys, if it is waiting for a key, and how often it has slept.
    #[track_caller]
    fn reader(&self) -> Option<(Thread, u64)> {
        let raw = self.terminal.as_ref().is_some_and(|(pty, _)| pty.snapshot().is_raw());
        let thread = ["stdin", "keys"].into_iter().find_map(|name| self.process().thread(name));
        let thread = thread.filter(|_| raw)?;
        let asleep = || (thread.sleeps() || thread.naps().is_none()).then_some(());
        until("the launcher waits for keys", asleep);
        Some((thread, thread.naps()?))
    }

    /// How many typed or piped bytes the launcher has not read.
    #[track_caller]
    fn unread(&self) -> i32 {
        match (&self.terminal, &self.input) {
            (Some((pty, _)), _) => pty.unread(),
            (None, Some(pipe)) => sys::unread(pipe.as_fd()).or_fail("looking into a pipe"),
            (None, None) => 0,
        }
    }

    /// Presses ^C three times. On a busy machine more than a second may pass between them, and the
    /// guest does not end; then this presses again. It stops when the launcher has ended or has
    /// restored the terminal, because more ^C would then be signals.
    #[track_caller]
    pub fn press_three_ctrl_c(&mut self) {
        loop {
            let start = Instant::now();
            for _ in 0..3 {
                self.press(CTRL_C);
            }
            let in_time = start.elapsed() < CTRL_C_WINDOW;
            if in_time || self.poll_end().is_some() || !self.pty().snapshot().is_raw() {
                return;
            }
        }
    }

    /// Takes the writing end of the launcher's stdin, which must be a pipe.
    #[track_caller]
    pub fn take_input(&mut self) -> File {
        self.input.take().or_fail("looking for the launcher's input")
    }

    /// Waits until the launcher ends.
    #[track_caller]
    pub fn wait(&mut self) -> End {
        until("the launcher ends", || self.poll_end())
    }

    /// How the launcher ended, if it has.
    pub fn poll_end(&mut self) -> Option<End> {
        if self.end.is_none() {
            self.end = self.child.try_wait().or_fail("waiting for the launcher").map(End::from);
        }
        self.end
    }

    /// Asserts that the terminal is as it was before the start. The guard process may need a moment
    /// for that.
    #[track_caller]
    pub fn assert_terminal_restored(&self) {
        let (pty, before) = self.terminal.as_ref().or_fail("looking for the launcher's terminal");
        let _ = within(patience(), || (pty.snapshot() == *before).then_some(()));
        assert_eq!(pty.snapshot(), *before, "the terminal was not restored");
    }

    /// Asserts that no process of the launcher is left and, if the launcher could remove it, no
    /// directory.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        self.assert_no_process_left();
        if !matches!(self.end, Some(End::Killed(_))) {
            assert_eq!(self.directories(), [] as [PathBuf; 0], "left behind");
        }
    }

    /// Asserts that no process of the launcher is left.
    #[track_caller]
    pub fn assert_no_process_left(&self) {
        let left = || Some(marked(&self.mark)).filter(|left| !left.is_empty());
        let gone = within(patience(), || left().is_none().then_some(()));
        assert!(gone.is_some(), "left behind: {:?}", left().map(describe));
    }

    /// The processes that belong to the launcher: itself, its children and their orphans.
    #[must_use]
    pub fn family(&self) -> Vec<Process> {
        marked(&self.mark)
    }
}

fn describe(processes: Vec<Process>) -> Vec<(Process, Vec<String>)> {
    processes.into_iter().map(|process| (process, process.threads())).collect()
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            // The states of the threads help to find the fault.
            let threads = |process: Process| process.thread_states();
            let states: Vec<_> = self.family().into_iter().flat_map(threads).collect();
            eprintln!("--- threads:\n{}", states.join("\n"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in marked(&self.mark) {
            process.signal(Signal::SIGKILL);
        }
        if thread::panicking() {
            for (name, transcript) in [("said", &self.output), ("said on stderr", &self.stderr)] {
                let tail = transcript.as_ref().map(Transcript::tail).unwrap_or_default();
                eprintln!("--- {name}:\n{tail}\n---");
            }
        }
    }
}
