//! `--trace FILE`: the events of vCPUs and queues with their times, as a file that ui.perfetto.dev
//! and chrome://tracing show (the trace event format, an array of JSON objects). Each thread writes
//! to a ring in memory of its own ([`devices::trace`]), and never waits. The thread `trace` drains
//! the rings many times a second while the guest runs, and writes the events to the file
//! ([`mod@file`]).
//!
//! The file is bounded, and lguest reports the number of events that are missing.

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

/// The number of events of a thread that can wait to be written: 320 KiB of them.
const ROOM: usize = 8192;

/// The time between two visits to the rings. A thread may record 400,000 events a second.
const INTERVAL: Duration = Duration::from_millis(20);

/// The size in bytes of the largest file.
const LIMIT: u64 = 256 << 20;

/// The rings of all threads that are traced.
#[derive(Debug, Default)]
pub struct TraceRings(Mutex<Vec<Arc<TraceRing>>>);

impl TraceRings {
    /// Add a ring for a thread of this name, with these kinds of events.
    pub fn add(&self, thread: &str, kinds: &'static [EventKind]) -> Arc<TraceRing> {
        let ring = Arc::new(TraceRing::new(thread, kinds, ROOM));
        self.lock().push(Arc::clone(&ring));
        ring
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<TraceRing>>> {
        lock(&self.0)
    }

    /// The names of the threads that have a ring.
    #[cfg(any(test, feature = "testing"))]
    pub fn names(&self) -> Vec<String> {
        self.lock().iter().map(|ring| ring.name().to_string()).collect()
    }
}

/// A trace that has not started: the file is open, and unchanged.
#[derive(Debug)]
pub struct Opened {
    path: PathBuf,
    file: File,
}

impl Opened {
    /// Open the file.
    ///
    /// # Errors
    /// When the file cannot be written at any offset.
    pub fn new(path: &Path) -> Result<Self> {
        let file = file::open(path).with_context(|| about(path))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Start writing the events of these rings.
    ///
    /// # Errors
    /// When the file cannot be written, or the host has no thread to spare.
    pub fn start(self, rings: Arc<TraceRings>) -> Result<Trace> {
        let file = TraceFile::new(self.file, LIMIT).with_context(|| about(&self.path))?;
        let mut writer = TraceWriter { path: self.path, rings, file, format: Formatter::default() };
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

/// A trace that is being written. Dropping it writes the remaining events.
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

/// The state of the thread `trace`.
#[derive(Debug)]
struct TraceWriter {
    path: PathBuf,
    rings: Arc<TraceRings>,
    file: TraceFile,
    format: Formatter,
}

impl TraceWriter {
    fn begin(&mut self) {
        let process = self.format.process(std::process::id());
        self.append(&process);
    }

    /// Write the events since the last call.
    fn write(&mut self) {
        let rings = self.rings.lock().clone();
        for ring in &rings {
            let text = self.format.events(ring);
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
        let late: u64 = self.rings.lock().iter().map(|ring| ring.lost()).sum();
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
