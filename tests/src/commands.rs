//! Runs the launcher's other commands (`lguest list` and so on) to their end.

use std::path::Path;
use std::process::{Command, Output};

use crate::environment;
use crate::launch::program;
use crate::running::{RUNTIME, Running};
use crate::terminal::Pty;
use crate::wait::OrFail;

/// The output and the exit status of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The exit status; `None` if a signal killed the command.
    pub status: Option<i32>,
    /// Everything that the command printed on stdout.
    pub stdout: String,
    /// Everything that the command printed on stderr.
    pub stderr: String,
}

impl Said {
    /// Asserts that the command succeeded and printed nothing on stderr, and returns its stdout.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        self.stdout
    }

    /// Asserts that the command failed with one line on stderr and nothing on stdout, and returns
    /// that line.
    #[track_caller]
    pub fn one_line(self) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (Some(1), ""), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        self.stderr
    }
}

/// Runs a command for guests whose directories are below `runtime`.
#[track_caller]
pub fn lguest(runtime: &Path, words: &[&str]) -> Said {
    let output = Command::new(environment::launcher()).args(words).env(RUNTIME, runtime).output();
    let Output { status, stdout, stderr } = output.or_fail("running lguest");
    let text = |bytes| String::from_utf8(bytes).or_fail("reading the output of lguest");
    Said { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Starts `lguest console` with these words, on a terminal of 30 lines of 100 characters.
#[track_caller]
#[must_use]
pub fn console(runtime: &Path, words: &[&str]) -> Running {
    let runtime = format!("{RUNTIME}={}", runtime.display());
    let launcher = environment::launcher();
    let launcher = launcher.to_str().or_fail("naming lguest");
    let mut all = vec!["env", &runtime, launcher, "console"];
    all.extend(words);
    program(&all, Path::new("/"), Pty::new(30, 100))
}

impl Running {
    /// Runs a command for this guest and the other guests of its runtime directory.
    #[track_caller]
    pub fn lguest(&self, words: &[&str]) -> Said {
        lguest(self.runtime(), words)
    }
}
