//! The launcher's other commands, run to their end: `lguest list` and so on.

use std::path::Path;
use std::process::{Command, Output};

use crate::environment;
use crate::launch::program;
use crate::running::{RUNTIME, Running};
use crate::terminal::Pty;
use crate::wait::OrFail;

/// What a command said, and its exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit status, if no signal killed it.
    pub status: Option<i32>,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
}

impl Said {
    /// It succeeded, without a word on stderr; what it printed.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        self.stdout
    }

    /// It failed, with one line on stderr and nothing on stdout; that line.
    #[track_caller]
    pub fn one_line(self) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (Some(1), ""), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        self.stderr
    }
}

/// Run a command, for guests whose directories are below `runtime`.
#[track_caller]
pub fn lguest(runtime: &Path, words: &[&str]) -> Said {
    let output = Command::new(environment::launcher()).args(words).env(RUNTIME, runtime).output();
    let Output { status, stdout, stderr } = output.or_fail("running lguest");
    let text = |bytes| String::from_utf8(bytes).or_fail("reading what lguest said");
    Said { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Somebody who says `lguest console` and these words, on a terminal of 30 lines of 100
/// characters.
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
    /// Run a command, for this guest and those beside it.
    #[track_caller]
    pub fn lguest(&self, words: &[&str]) -> Said {
        lguest(self.runtime(), words)
    }
}
