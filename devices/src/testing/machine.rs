//! A machine without vCPUs: it records what devices ask of it. An interrupt that
//! was delivered is a count in the eventfd of a connected line; KVM takes it out
//! at once, we do when the test asks ([`FakeMachine::delivered`]) or the line is
//! unplugged. As KVM, we send what we find when a line is plugged in, and leave
//! it in the counter.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vmm_sys_util::eventfd::EventFd;

use crate::interrupt::{Machine, MsiMessage};
use crate::observer::Observer;
use crate::trace::TraceRing;

/// No test waits longer for what must come; a loaded host may well be slow.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a device asked its machine for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineRequest {
    /// Plug a line in.
    Connect(u32, MsiMessage),
    /// Unplug it.
    Disconnect(u32),
}

#[derive(Debug)]
struct Line {
    event: EventFd,
    connected: bool,
    /// The count that was there when the line was plugged in.
    found: u64,
    delivered: bool,
}

impl Line {
    fn connect(event: &EventFd, delivered: bool) -> io::Result<Self> {
        let found = event.read().unwrap_or(0);
        event.write(found)?;
        let delivered = delivered || found > 0;
        Ok(Self { event: event.try_clone()?, connected: true, found, delivered })
    }

    /// What KVM does whenever something is written: take all there is.
    fn listen(&mut self) {
        match self.event.read() {
            Ok(count) if count == self.found => self.event.write(count).unwrap(),
            Ok(_) => (self.found, self.delivered) = (0, true),
            Err(_) => {}
        }
    }
}

#[derive(Debug, Default)]
struct MachineState {
    /// The line of each number; None until the line is first connected.
    lines: Vec<Option<Line>>,
    requests: Vec<LineRequest>,
    failures: Vec<(String, String)>,
    refused: Option<u64>,
    /// Addresses whose writes ring a doorbell.
    wired: BTreeSet<u64>,
    observers: BTreeMap<String, Arc<Observer>>,
    trace: Option<Arc<TraceRing>>,
}

/// A machine without vCPUs, which records the requests of devices.
#[derive(Debug, Default)]
pub struct FakeMachine(Mutex<MachineState>);

impl FakeMachine {
    fn state<T>(&self, look: impl FnOnce(&mut MachineState) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// Everything asked for since the last call.
    pub fn requests(&self) -> Vec<LineRequest> {
        self.state(|state| std::mem::take(&mut state.requests))
    }

    /// A machine whose queue of the ring's name is traced.
    #[must_use]
    pub fn with_trace(trace: Arc<TraceRing>) -> Self {
        Self(Mutex::new(MachineState { trace: Some(trace), ..MachineState::default() }))
    }

    /// The observer of the queue with this thread.
    pub fn observer_of(&self, thread: &str) -> Arc<Observer> {
        self.state(|state| {
            let trace = state.trace.clone().filter(|trace| trace.name() == thread);
            let observer = || Arc::new(Observer::new(trace));
            Arc::clone(state.observers.entry(thread.to_string()).or_insert_with(observer))
        })
    }

    /// The errors that the queue with this thread has counted.
    pub fn errors(&self, thread: &str) -> u64 {
        self.observer_of(thread).stats.errors.get()
    }

    /// Threads that failed, and why.
    pub fn failures(&self) -> Vec<(String, String)> {
        self.state(|state| state.failures.clone())
    }

    /// From now on, messages to `address` cannot be routed.
    pub fn refuse(&self, address: u64) {
        self.state(|state| state.refused = Some(address));
    }

    /// Whether a write to `address` rings a doorbell.
    pub fn is_wired(&self, address: u64) -> bool {
        self.state(|state| state.wired.contains(&address))
    }

    /// Whether an interrupt came through `line` since the last call.
    pub fn delivered(&self, line: u32) -> bool {
        let line = usize::try_from(line).unwrap();
        self.state(|state| {
            let Some(line) = &mut state.lines[line] else { return false };
            if line.connected {
                line.listen();
            }
            std::mem::take(&mut line.delivered)
        })
    }

    /// Wait for an interrupt through `line`.
    pub fn wait_interrupt(&self, line: u32) {
        until(&format!("an interrupt of line {line}"), || self.delivered(line));
    }

    /// Wait for a thread to fail; which and why.
    pub fn wait_failure(&self) -> (String, String) {
        until("a failure", || !self.failures().is_empty());
        self.failures().remove(0)
    }
}

/// Wait for `what`, which must come.
pub fn until(what: &str, mut come: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !come() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_micros(200));
    }
}

impl Machine for FakeMachine {
    fn new_line(&self) -> u32 {
        self.state(|state| {
            state.lines.push(None);
            u32::try_from(state.lines.len() - 1).unwrap()
        })
    }

    fn connect(&self, line: u32, event: &EventFd, message: MsiMessage) -> io::Result<()> {
        let index = usize::try_from(line).unwrap();
        self.state(|state| {
            state.requests.push(LineRequest::Connect(line, message));
            if state.refused == Some(message.address) {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            }
            let before = &mut state.lines[index];
            let already = before.as_ref().is_some_and(|line| line.connected);
            assert!(!already, "line {line} is connected twice");
            let delivered = before.as_ref().is_some_and(|line| line.delivered);
            *before = Some(Line::connect(event, delivered)?);
            Ok(())
        })
    }

    fn disconnect(&self, line: u32, _event: &EventFd) {
        let index = usize::try_from(line).unwrap();
        self.state(|state| {
            state.requests.push(LineRequest::Disconnect(line));
            let line = state.lines[index].as_mut().expect("disconnected but never connected");
            assert!(line.connected, "disconnected twice");
            line.listen();
            line.connected = false;
        });
    }

    fn wire(&self, address: u64, _doorbell: &EventFd) -> io::Result<()> {
        let new = self.state(|state| state.wired.insert(address));
        assert!(new, "{address:#x} is wired twice");
        Ok(())
    }

    fn unwire(&self, address: u64, _doorbell: &EventFd) {
        let wired = self.state(|state| state.wired.remove(&address));
        assert!(wired, "{address:#x} was not wired");
    }

    fn observer(&self, thread: &str) -> Arc<Observer> {
        self.observer_of(thread)
    }

    fn failed(&self, thread: &str, why: &str) {
        self.state(|state| state.failures.push((thread.to_string(), why.to_string())));
    }
}
