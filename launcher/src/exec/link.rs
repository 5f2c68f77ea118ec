//! Frames from the launcher to the init of a guest that runs a command. Nothing is sent before the
//! init is ready, and no more input than it has room for.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use devices::mutex::{lock, wait, wait_timeout};
use devices::number::{clamped_u32, index};
use host::input::InputPipe;
use host::stdin::InputSink;
use lguest_init::frame::{HEADER, INPUT_WINDOW, MOST_TO_GUEST, ToGuest};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a command may read nothing from its terminal. Then typed keys are dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait for a guest that does not read its console, before checking whether it has
/// ended.
const LOOK_MS: u16 = 200;

/// The connection to the init.
#[derive(Debug, Default)]
pub(crate) struct InitLink {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the init reads.
    ready: bool,
    /// Whether the guest has ended.
    over: bool,
    /// How many bytes of input may be sent.
    credit: u32,
    /// The window's columns and rows, if the init has yet to get them.
    window: Option<(u16, u16)>,
}

impl InitLink {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Start sending: the init is ready.
    pub(super) fn open(&self, input: &InputPipe) {
        let mut state = self.lock();
        state.ready = true;
        state.credit = INPUT_WINDOW;
        state.send_window(input);
        self.changed.notify_all();
    }

    /// Whether the init is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.lock().ready
    }

    /// Wake up all waiting threads: the guest has ended.
    pub(crate) fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Raise the credit: the command has read this many bytes of its input. Bytes that were never
    /// sent do not count.
    pub(super) fn taken(&self, count: u32) {
        let mut state = self.lock();
        state.credit = state.credit.saturating_add(count).min(INPUT_WINDOW);
        self.changed.notify_all();
    }

    /// Send a new size of the window. Never waits; returns false if the caller has to send it
    /// again.
    pub(crate) fn resize(&self, input: &InputPipe, columns: u16, rows: u16) -> bool {
        let mut state = self.lock();
        state.window = Some((columns, rows));
        state.send_window(input);
        !state.ready || state.window.is_none()
    }

    /// Report to the init that this many bytes of output have been written.
    pub(super) fn written(&self, input: &InputPipe, count: u32) {
        self.send(input, &ToGuest::Written(count));
    }

    /// Send as many of these bytes as the credit allows, as input of the command. Returns how many:
    /// 0 only if there is no credit until then.
    fn send_some(
        &self,
        input: &InputPipe,
        bytes: &[u8],
        until: Option<Instant>,
    ) -> io::Result<usize> {
        let most = MOST_TO_GUEST.saturating_sub(HEADER).min(bytes.len());
        let mut state = self.lock();
        while state.credit == 0 && !state.over {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return Ok(0),
                Some(left) => wait_timeout(&self.changed, state, left),
                None => wait(&self.changed, state),
            };
        }
        if state.over {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let most = clamped_u32(most as u64).min(state.credit);
        state.credit = state.credit.saturating_sub(most);
        let most = index(most);
        drop(state);
        self.send(input, &ToGuest::Stdin(bytes.get(..most).unwrap_or_default().to_vec()));
        Ok(most)
    }

    /// Send a frame, which a pipe takes as a whole. A sender that keeps to the credit does not wait
    /// here, unless the host grants small pipes only.
    fn send(&self, input: &InputPipe, frame: &ToGuest) {
        let bytes = frame.encode();
        while !self.lock().over && matches!(input.send(&bytes), Ok(0)) {
            let mut room = [PollFd::new(input.sender(), PollFlags::POLLOUT)];
            let _ = poll(&mut room, PollTimeout::from(LOOK_MS));
        }
    }
}

impl State {
    fn send_window(&mut self, input: &InputPipe) {
        if let (true, Some((columns, rows))) = (self.ready, self.window) {
            let sent = input.send(&ToGuest::Window { columns, rows }.encode());
            if !matches!(sent, Ok(0)) {
                self.window = None;
            }
        }
    }
}

/// The command's stdin.
#[derive(Debug)]
pub(super) struct CommandStdin {
    link: Arc<InitLink>,
    input: Arc<InputPipe>,
    /// Whether the command has read what was last typed.
    reads: bool,
}

impl CommandStdin {
    pub(super) fn new(link: &Arc<InitLink>, input: &Arc<InputPipe>) -> Self {
        Self { link: Arc::clone(link), input: Arc::clone(input), reads: true }
    }
}

impl InputSink for CommandStdin {
    fn hand_on(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.link.send_some(&self.input, bytes, None)?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    fn type_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let patience = if self.reads { PATIENCE } else { Duration::ZERO };
            let until = Some(Instant::now() + patience);
            match self.link.send_some(&self.input, bytes, until) {
                Ok(sent @ 1..) => {
                    bytes = bytes.get(sent..).unwrap_or_default();
                    self.reads = true;
                }
                Ok(_) => return self.warn_not_read(),
                Err(_) => return,
            }
        }
    }

    fn end(&mut self) {
        let ready = self.link.wait_until_ready();
        if ready {
            self.link.send(&self.input, &ToGuest::StdinEnd);
        }
    }
}

impl CommandStdin {
    /// Warn once that the command does not read. Before the init is ready, no command is to blame.
    fn warn_not_read(&mut self) {
        if self.reads && self.link.is_ready() {
            log::warn!("the command does not read its terminal: what is typed is lost");
            self.reads = false;
        }
    }
}

impl InitLink {
    /// Wait until the init is ready. Returns false if the guest ends before.
    fn wait_until_ready(&self) -> bool {
        let mut state = self.lock();
        while !state.ready && !state.over {
            state = wait(&self.changed, state);
        }
        state.ready
    }
}

#[cfg(test)]
mod tests;
