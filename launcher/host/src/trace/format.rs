//! Events as lines of JSON, in the trace event format
//! (docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU): "X" is
//! an event with a duration, "i" one without, "M" a name.

use std::collections::BTreeMap;
use std::fmt::Write;

use devices::trace::{Event, TraceEntry, TraceRing};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Formats events as lines, and remembers the thread of each ring.
#[derive(Debug, Default)]
pub(super) struct Formatter {
    pid: u32,
    /// The number of each ring's thread, by the ring's name.
    threads: BTreeMap<String, u64>,
    lost: u64,
}

/// A line of the file.
#[derive(Debug, Serialize)]
struct EventLine<'a> {
    name: &'a str,
    ph: &'static str,
    /// The time of the beginning in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: u64,
    /// The scope of an event without a duration: its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

impl Formatter {
    /// The line that names the process.
    pub(super) fn process(&mut self, pid: u32) -> String {
        self.pid = pid;
        self.name("process_name", pid.into(), "lguest")
    }

    /// The number of lost events that the lines report.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// The lines for all new events in a ring.
    pub(super) fn events(&mut self, ring: &TraceRing) -> String {
        let mut lines = String::new();
        ring.drain(|event| lines += &self.event(ring.name(), &event));
        lines
    }

    fn event(&mut self, thread: &str, event: &Event) -> String {
        let [a, b] = event.numbers;
        match event.entry {
            TraceEntry::Thread => {
                self.threads.insert(thread.to_string(), a);
                self.name("thread_name", a, thread)
            }
            TraceEntry::Lost => {
                self.lost = self.lost.saturating_add(a);
                let args = [("events".to_string(), json!(a))].into_iter().collect();
                self.line(thread, "lost", event, args)
            }
            TraceEntry::Event(kind) => {
                let numbers = kind.numbers.into_iter().zip([a, b]);
                let numbers = numbers.filter(|(name, _)| !name.is_empty());
                let args = numbers.map(|(name, value)| (name.to_string(), shown(name, value)));
                self.line(thread, kind.name, event, args.collect())
            }
        }
    }

    fn line(&self, thread: &str, name: &str, event: &Event, args: Map<String, Value>) -> String {
        let tid = self.threads.get(thread).copied().unwrap_or(0);
        let (ts, pid) = (Some(microseconds(event.begin)), self.pid);
        let dur = event.end.map(|end| microseconds(end.saturating_sub(event.begin)));
        let (ph, s) = if dur.is_some() { ("X", None) } else { ("i", Some("t")) };
        written(&EventLine { name, ph, ts, dur, pid, tid, s, args })
    }

    fn name(&self, what: &str, tid: u64, name: &str) -> String {
        let args = [("name".to_string(), json!(name))].into_iter().collect();
        let (ts, dur, s) = (None, None, None);
        written(&EventLine { name: what, ph: "M", ts, dur, pid: self.pid, tid, s, args })
    }
}

/// The value of an argument: addresses and ports are hexadecimal.
fn shown(name: &str, value: u64) -> Value {
    match name {
        "port" | "address" => json!(format!("{value:#x}")),
        _ => json!(value),
    }
}

fn microseconds(nanoseconds: u64) -> f64 {
    // Exact to the nanosecond for a hundred days since the host's start.
    nanoseconds as f64 / 1000.0
}

fn written(line: &EventLine<'_>) -> String {
    let mut text = String::new();
    // Neither fails: a line consists of strings and numbers, and a String grows.
    let _ = writeln!(text, "{}", serde_json::to_string(line).unwrap_or_default());
    text
}
