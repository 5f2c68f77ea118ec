//! Records the launcher's system calls, and injects results into them (`-e inject`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::Process;
use crate::wait::{OrFail, until};

/// strace, on a running process.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    trace: PathBuf,
}

impl Strace {
    /// Starts to trace a process with these expressions. The output goes to files in `directory`.
    #[must_use]
    #[track_caller]
    pub fn attach(process: Process, directory: &Path, expressions: &[&str]) -> Self {
        let trace = directory.join("trace");
        let before = process.naps();
        let mut command = Command::new("strace");
        for expression in expressions {
            command.args(["-e", expression]);
        }
        command.args(["-f", "-o"]).arg(&trace).args(["-p", &process.0.to_string()]);
        let child = command.stderr(Stdio::null()).spawn().or_fail("starting strace");
        let tracer = child.id().to_string();
        let traced = || {
            let tasks = fs::read_dir(process.file("task")).ok()?;
            let all = tasks.flatten().all(|task| {
                let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
                status.lines().any(|line| line == format!("TracerPid:\t{tracer}"))
            });
            // strace has stopped each thread that it found. From then on it sees all of their
            // system calls.
            let now = process.naps();
            let stopped = before.iter().all(|(id, naps)| now.get(id).is_none_or(|it| it > naps));
            (all && stopped).then_some(())
        };
        until("strace is attached", traced);
        Self { child, trace }
    }

    /// Stops tracing, and returns the system calls of one thread.
    #[track_caller]
    pub fn detach(self, thread: i32) -> Vec<String> {
        self.detach_all().remove(&thread).unwrap_or_default()
    }

    /// Stops tracing, and returns the system calls of each thread.
    #[track_caller]
    pub fn detach_all(mut self) -> BTreeMap<i32, Vec<String>> {
        let tracer = self.child.id().try_into().map(Pid::from_raw).or_fail("naming strace");
        kill(tracer, Signal::SIGINT).or_fail("stopping strace");
        self.child.wait().or_fail("waiting for strace");
        let trace = fs::read_to_string(&self.trace).or_fail("reading the output of strace");
        let mut calls: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for (thread, call) in trace.lines().filter_map(|line| line.split_once(' ')) {
            let thread = thread.parse().or_fail("reading a thread's number");
            calls.entry(thread).or_default().push(call.trim().to_string());
        }
        calls
    }
}
