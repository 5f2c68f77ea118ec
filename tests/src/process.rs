//! A process, as /proc shows it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::OrFail;

/// A process, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(pub i32);

impl Process {
    /// Whether the process runs. A zombie does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        self.stat(2).is_some_and(|state| state != "Z" && state != "X")
    }

    /// Whether a signal has stopped the process.
    #[must_use]
    pub fn is_stopped(self) -> bool {
        self.stat(2).is_some_and(|state| state == "T")
    }

    /// When the process was started. This distinguishes two processes with the same pid.
    #[must_use]
    #[track_caller]
    pub fn start_time(self) -> String {
        self.stat(21).or_fail("reading a start time")
    }

    /// The CPU time that all threads of the process have used so far.
    #[must_use]
    #[track_caller]
    pub fn cpu_time(self) -> Duration {
        let field = |index| self.stat(index)?.parse::<u64>().ok();
        let ticks = field(13).or_fail("finding utime") + field(14).or_fail("finding stime");
        // Linux counts 100 ticks per second on every x86 machine.
        Duration::from_millis(10 * ticks)
    }

    /// Sends a signal to the process.
    #[track_caller]
    pub fn signal(self, signal: Signal) {
        kill(Pid::from_raw(self.0), signal).or_fail("sending a signal");
    }

    /// Sends a signal to the process group that the process leads.
    #[track_caller]
    pub fn signal_group(self, signal: Signal) {
        kill(Pid::from_raw(-self.0), signal).or_fail("sending a signal to a group");
    }

    /// The names of the process' threads, sorted.
    #[must_use]
    pub fn threads(self) -> Vec<String> {
        let mut names: Vec<String> = self.tasks().into_iter().map(|(_, name)| name).collect();
        names.sort();
        names
    }

    /// A line about each thread: name, state, clock ticks used, and the kernel function in which it
    /// waits.
    #[must_use]
    pub fn thread_states(self) -> Vec<String> {
        let line = |(id, name): (i32, String)| {
            let read = |file| fs::read_to_string(self.file(&format!("task/{id}/{file}")));
            let [stat, channel, call] =
                ["stat", "wchan", "syscall"].map(|f| read(f).unwrap_or_default());
            let field = |index| stat_field(&stat, index).unwrap_or_default();
            let (state, user, system) = (field(2), field(13), field(14));
            format!("{} {name}: {state} {user}+{system} {channel} {}", self.0, call.trim_end())
        };
        self.tasks().into_iter().map(line).collect()
    }

    /// The thread of this name.
    #[must_use]
    pub fn thread(self, name: &str) -> Option<Thread> {
        let (id, _) = self.tasks().into_iter().find(|(_, task)| task == name)?;
        Some(Thread { process: self, id })
    }

    /// [`Thread::naps`] of each thread of the process.
    #[must_use]
    pub(crate) fn naps(self) -> BTreeMap<i32, u64> {
        let naps = |(id, _)| Some((id, Thread { process: self, id }.naps()?));
        self.tasks().into_iter().filter_map(naps).collect()
    }

    fn tasks(self) -> Vec<(i32, String)> {
        let tasks = fs::read_dir(self.file("task")).into_iter().flatten().flatten();
        tasks
            .filter_map(|task| {
                let name = fs::read_to_string(task.path().join("comm")).ok()?;
                let id = task.file_name().to_string_lossy().parse().ok()?;
                Some((id, name.trim_end().to_string()))
            })
            .collect()
    }

    /// What the open descriptors of the process are, sorted.
    #[must_use]
    #[track_caller]
    pub fn descriptors(self) -> Vec<String> {
        let entries = fs::read_dir(self.file("fd")).or_fail("reading descriptors");
        let mut files: Vec<String> = entries
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|file| without_number(&file.to_string_lossy()))
            .collect();
        files.sort();
        files
    }

    /// The file status flags of one of the process' descriptors.
    #[must_use]
    #[track_caller]
    pub fn file_flags(self, descriptor: i32) -> String {
        let info = fs::read_to_string(self.file(&format!("fdinfo/{descriptor}")));
        let info = info.or_fail("reading a descriptor's flags");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        flags.or_fail("finding a descriptor's flags").trim().to_string()
    }

    /// The private memory of the process in KiB, without its largest mapping, which is the guest's
    /// memory. Pages of files are not counted, because other processes share them.
    #[must_use]
    #[track_caller]
    pub fn memory_beyond_guest(self) -> u64 {
        let maps = fs::read_to_string(self.file("smaps")).or_fail("reading memory use");
        // A mapping begins with its addresses; "Size" and "Anonymous" are among the lines that follow.
        let field = |line: &str, name| {
            let kib = line.strip_prefix(name)?.trim().strip_suffix(" kB")?;
            kib.parse::<u64>().ok()
        };
        let sizes = maps.lines().filter_map(|line| field(line, "Size:"));
        let shares = maps.lines().filter_map(|line| field(line, "Anonymous:"));
        let mut mappings: Vec<_> = sizes.zip(shares).collect();
        mappings.sort_unstable();
        mappings.pop().or_fail("finding the guest's memory");
        mappings.into_iter().map(|(_, share)| share).sum()
    }

    /// Field `index` of /proc/PID/stat, counted from 0, from the third on.
    fn stat(self, index: usize) -> Option<String> {
        stat_field(&fs::read_to_string(self.file("stat")).ok()?, index)
    }

    /// A file below /proc/PID.
    #[must_use]
    pub fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }
}

/// A thread of a process.
#[derive(Debug, Clone, Copy)]
pub struct Thread {
    process: Process,
    /// The thread's id, as strace shows it.
    pub id: i32,
}

impl Thread {
    /// The CPU time that the thread has used, in clock ticks.
    #[must_use]
    #[track_caller]
    pub fn ticks(self) -> u64 {
        let stat = self.stat();
        let field = |index| stat_field(&stat, index).and_then(|ticks| ticks.parse::<u64>().ok());
        field(13).or_fail("finding utime") + field(14).or_fail("finding stime")
    }

    /// How often the thread has given up the CPU voluntarily: to sleep in a system call, or because
    /// it was stopped. `None` if the thread has ended.
    #[must_use]
    pub fn naps(self) -> Option<u64> {
        let status = self.process.file(&format!("task/{}/status", self.id));
        let status = fs::read_to_string(status).ok()?;
        let count = |line: &str| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok();
        status.lines().find_map(count)
    }

    /// Whether the thread waits for something. A thread that has ended does not.
    #[must_use]
    pub fn sleeps(self) -> bool {
        let stat = fs::read_to_string(self.process.file(&format!("task/{}/stat", self.id)));
        stat.is_ok_and(|stat| stat_field(&stat, 2).is_some_and(|state| state == "S"))
    }

    #[track_caller]
    fn stat(self) -> String {
        let stat = fs::read_to_string(self.process.file(&format!("task/{}/stat", self.id)));
        stat.or_fail("reading a thread's state")
    }
}

/// The second field of the line is a name, and may contain any character.
fn stat_field(stat: &str, index: usize) -> Option<String> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_whitespace().nth(index.checked_sub(2)?).map(str::to_string)
}

/// "pipe:\[1234\]" without the number, which differs each time.
fn without_number(file: &str) -> String {
    file.split_once(":[").map_or(file, |(kind, _)| kind).to_string()
}

/// The processes that have this word in their environment: a launcher and its children.
#[must_use]
pub fn marked(mark: &str) -> Vec<Process> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok().map(Process))
        .filter(|process| {
            let environment = fs::read(process.file("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
        })
        .collect()
}
