//! Runs one command in a guest (`lguest --exec`) to its end.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;

use crate::environment;
use crate::files::{Scratch, below};
use crate::launch::Launch;
use crate::running::{Connection, End, Running};
use crate::wait::{OrFail, until};

/// The result of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// How the launcher ended.
    pub end: End,
    /// Everything that the launcher printed on stdout, byte for byte.
    pub stdout: Vec<u8>,
    /// Everything that the launcher printed on stderr.
    pub stderr: String,
}

impl Done {
    /// Asserts that the command succeeded and printed nothing on stderr, and returns its stdout.
    #[track_caller]
    pub fn well(self) -> String {
        let stdout = String::from_utf8_lossy(&self.stdout).into_owned();
        assert_eq!((self.end, self.stderr.as_str()), (End::Status(0), ""), "{stdout}");
        stdout
    }

    /// Asserts that the command ended with this status, one line on stderr that contains `words`,
    /// and nothing on stdout.
    #[track_caller]
    pub fn one_line(self, status: i32, words: &str) {
        let Self { end, stdout, stderr } = self;
        let printed = String::from_utf8_lossy(&stdout).into_owned();
        assert_eq!((end, printed.as_str()), (End::Status(status), ""), "{stderr}");
        assert!(stderr.starts_with("lguest: ") && stderr.lines().count() == 1, "{stderr}");
        assert!(stderr.contains(words), "{stderr:?} does not contain {words:?}");
    }
}

impl Launch {
    /// Returns a launch of the stock kernel with its modules, which runs this command.
    #[must_use]
    #[track_caller]
    pub fn exec(command: &str) -> Self {
        let modules = environment::modules();
        let modules = modules.to_str().or_fail("naming the modules");
        Self::kernel(environment::vmlinux())
            .option("--modules")
            .option(modules)
            .option("--exec")
            .option(command)
    }

    /// Runs the command to its end with an empty stdin, and asserts that nothing is left behind.
    #[track_caller]
    pub fn done(&self) -> Done {
        self.done_with(Vec::new())
    }

    /// Runs the command to its end with `input` on stdin, and asserts that nothing is left behind.
    #[track_caller]
    pub fn done_with(&self, input: Vec<u8>) -> Done {
        let scratch = Scratch::new();
        let (stdout, stderr) = (scratch.path().join("stdout"), scratch.path().join("stderr"));
        let create = |path: &PathBuf| fs::File::create(path).or_fail("making a file");
        let mut words = self.words().into_iter();
        let mut command = std::process::Command::new(words.next().or_fail("finding the launcher"));
        command.args(words).stdin(Stdio::piped()).stdout(create(&stdout)).stderr(create(&stderr));
        let mut running = Running::start(command, Connection::Pipes);
        let mut pipe = running.take_input();
        let feeder = thread::Builder::new().name("feeder".into());
        // A command may end before it has read all of its input.
        let fed = feeder.spawn(move || drop(pipe.write_all(&input)));
        let end = running.wait();
        fed.or_fail("starting a thread").join().unwrap_or(());
        running.assert_no_process_left();
        assert_eq!(below(&running.runtime().join("lguest")), [] as [PathBuf; 0], "left behind");
        let stdout = fs::read(stdout).or_fail("reading stdout");
        let stderr = fs::read_to_string(stderr).or_fail("reading stderr");
        Done { end, stdout, stderr }
    }
}

impl Running {
    /// Waits until stdout is closed, and returns the bytes that the test has not read yet.
    #[must_use]
    #[track_caller]
    pub fn all_output(&mut self) -> Vec<u8> {
        until("stdout is closed", || self.output().has_ended().then_some(()));
        self.output().unseen()
    }
}
