//! `--trace FILE`: what vCPUs and queues do, and when, as a file that ui.perfetto.dev and
//! chrome://tracing show (the trace event format, an array of JSON objects). The threads
//! write to lanes in memory ([`devices::trace`]), each to its own, and never wait; the
//! thread `trace` looks into the lanes many times a second while the guest runs, and writes
//! what it finds to the file ([`mod@file`]).
//!
//! The file is bounded, and lguest reports what is not in it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use devices::mutex::lock;
use devices::threads;
use devices::trace::{EventKind, TraceRing};

use crate::messages;
use file::{AppendError, TraceFile};
use format::Formatter;

mod file;
mod format;

#[cfg(test)]
mod tests;

/// Events of a thread that wait to be written, at most: 320 KiB of them.
const ROOM: usize = 8192;

/// Between two looks into the lanes. A thread may note 400,000 events a second.
const INTERVAL: Duration = Duration::from_millis(20);

/// Bytes of a file, at most.
const LIMIT: u64 = 256 << 20;

/// A lane for each thread that is watched.
#[derive(Debug, Default)]
pub struct TraceRings(Mutex<Vec<Arc<TraceRing>>>);

impl TraceRings {
    /// One for a thread of this name.
    pub fn add(&self, thread: &str, words: &'static [EventKind]) -> Arc<TraceRing> {
        let lane = Arc::new(TraceRing::new(thread, words, ROOM));
        self.lock().push(Arc::clone(&lane));
        lane
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<TraceRing>>> {
        lock(&self.0)
    }

    /// The names of the threads that have a lane.
    #[cfg(any(test, feature = "testing"))]
    pub fn names(&self) -> Vec<String> {
        self.lock().iter().map(|lane| lane.name().to_string()).collect()
    }
}

/// A trace that is to be written: the file is open, and as it was.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    file: File,
}

impl Opened {
    /// Open this file.
    ///
    /// # Errors
    /// When it cannot be written at any place of it.
    pub fn new(path: &Path) -> Result<Self> {
        let file = file::open(path).with_context(|| about(path))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Write what comes in these lanes, from now on.
    ///
    /// # Errors
    /// Of the host: when the file takes nothing, or there is no thread to spare.
    pub fn start(self, lanes: Arc<TraceRings>) -> Result<Trace> {
        let file = TraceFile::new(self.file, LIMIT).with_context(|| about(&self.path))?;
        let mut writer = TraceWriter { path: self.path, lanes, file, format: Formatter::default() };
        writer.begin();
        let (stop, stopped) = mpsc::sync_channel::<()>(0);
        let body = move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                writer.write();
            }
            writer.finish();
        };
        let thread = threads::start("trace", body).context("starting the trace's thread")?;
        Ok(Trace { stop: Some(stop), thread: Some(thread) })
    }
}

fn about(path: &Path) -> String {
    format!("--trace {}", path.display())
}

/// A trace that is being written. Dropping it writes the rest.
#[derive(Debug)]
pub struct Trace {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Trace {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // Its panic has been reported.
        }
    }
}

/// The thread `trace`.
#[derive(Debug)]
struct TraceWriter {
    path: PathBuf,
    lanes: Arc<TraceRings>,
    file: TraceFile,
    format: Formatter,
}

impl TraceWriter {
    fn begin(&mut self) {
        let process = self.format.process(std::process::id());
        self.append(&process);
    }

    /// Write what has come since the last time.
    fn write(&mut self) {
        let lanes = self.lanes.lock().clone();
        for lane in &lanes {
            let text = self.format.events(lane);
            self.append(&text);
        }
    }

    fn append(&mut self, text: &str) {
        match self.file.append(text) {
            Ok(()) => {}
            Err(AppendError::Limit) => {
                let size = LIMIT >> 20;
                messages::say(&format!("{}: {size} MiB: it is full", about(&self.path)));
            }
            Err(AppendError::Failed(error)) => {
                messages::say(&format!("{}: {error}: it ends here", about(&self.path)));
            }
        }
    }

    fn finish(mut self) {
        self.write();
        let late: u64 = self.lanes.lock().iter().map(|lane| lane.lost()).sum();
        let lost = self.format.lost().saturating_add(late);
        if lost > 0 {
            let text = "they came faster than they could be written";
            messages::say(&format!("{}: {lost} events are missing: {text}", about(&self.path)));
        }
        let after = self.file.left_out();
        if after > 0 {
            messages::say(&format!("{}: {after} events came after its end", about(&self.path)));
        }
    }
}
