//! What the launcher says to the init of a guest that runs a command, and when it may:
//! nothing before that is ready, and no more input than there is room for.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use devices::mutex::{lock, wait, wait_timeout};
use host::input::Input;
use host::stdin::Taker;
use lguest_init::frame::{HEADER, INPUT_WINDOW, MOST_TO_GUEST, ToGuest};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A command that takes nothing of its terminal for this long is not reading: what is typed
/// then is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait for a guest that does not read its console, until it is looked whether
/// there is still one.
const LOOK_MS: u16 = 200;

/// The way to the init.
#[derive(Debug, Default)]
pub(crate) struct Link {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The init reads.
    ready: bool,
    /// The guest has ended.
    over: bool,
    /// So many bytes of input may be sent.
    credit: u32,
    /// The window's columns and rows, if the init is to be told.
    window: Option<(u16, u16)>,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The init reads now.
    pub(super) fn open(&self, input: &Input) {
        let mut state = self.lock();
        state.ready = true;
        state.credit = INPUT_WINDOW;
        state.tell_window(input);
        self.changed.notify_all();
    }

    /// Has it been heard of?
    pub(crate) fn is_ready(&self) -> bool {
        self.lock().ready
    }

    /// The guest has ended: nobody is waited for any more.
    pub(crate) fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// The command has taken so much of its input. What was never sent is not counted.
    pub(super) fn taken(&self, count: u32) {
        let mut state = self.lock();
        state.credit = state.credit.saturating_add(count).min(INPUT_WINDOW);
        self.changed.notify_all();
    }

    /// The window has another size. Waits for nobody; false if it is to be told again.
    pub(crate) fn resize(&self, input: &Input, columns: u16, rows: u16) -> bool {
        let mut state = self.lock();
        state.window = Some((columns, rows));
        state.tell_window(input);
        !state.ready || state.window.is_none()
    }

    /// So much of the output has been written.
    pub(super) fn written(&self, input: &Input, count: u32) {
        self.send(input, &ToGuest::Written(count));
    }

    /// Send as much as may be of these bytes, as input of the command: how much that was, not
    /// nothing, unless there is no room until then.
    fn send_some(&self, input: &Input, bytes: &[u8], until: Option<Instant>) -> io::Result<usize> {
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
        let most = most.min(usize::try_from(state.credit).unwrap_or(most));
        state.credit = state.credit.saturating_sub(u32::try_from(most).unwrap_or(u32::MAX));
        drop(state);
        self.send(input, &ToGuest::Stdin(bytes.get(..most).unwrap_or_default().to_vec()));
        Ok(most)
    }

    /// Send a frame, which a pipe takes as a whole. One who keeps to what may be on its way
    /// does not have to wait here, unless the host grants small pipes only.
    fn send(&self, input: &Input, frame: &ToGuest) {
        let bytes = frame.encode();
        while !self.lock().over && matches!(input.send(&bytes), Ok(0)) {
            let mut room = [PollFd::new(input.sender(), PollFlags::POLLOUT)];
            let _ = poll(&mut room, PollTimeout::from(LOOK_MS));
        }
    }
}

impl State {
    fn tell_window(&mut self, input: &Input) {
        if let (true, Some((columns, rows))) = (self.ready, self.window) {
            let told = input.send(&ToGuest::Window { columns, rows }.encode());
            if !matches!(told, Ok(0)) {
                self.window = None;
            }
        }
    }
}

/// The command's stdin.
#[derive(Debug)]
pub(super) struct Stdin {
    link: Arc<Link>,
    input: Arc<Input>,
    /// The command took what was last typed.
    reads: bool,
}

impl Stdin {
    pub(super) fn new(link: &Arc<Link>, input: &Arc<Input>) -> Self {
        Self { link: Arc::clone(link), input: Arc::clone(input), reads: true }
    }
}

impl Taker for Stdin {
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
                Ok(_) => return self.is_not_read(),
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

impl Stdin {
    /// Say so once; before there is a command, nobody is to be blamed.
    fn is_not_read(&mut self) {
        if self.reads && self.link.is_ready() {
            log::warn!("the command does not read its terminal: what is typed is lost");
            self.reads = false;
        }
    }
}

impl Link {
    /// False if it never will be.
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
