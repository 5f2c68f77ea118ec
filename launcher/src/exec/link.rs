//! The connection to the init of a guest that runs commands: which commands there are, and the
//! frames to the init. Nothing is sent before the init is ready, and to each command no more input
//! than it has room for. [`super::streams`] receives the init's frames.

mod command;
mod output;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use devices::mutex::{lock, wait, wait_timeout};
use devices::number::index;
use host::input::InputPipe;
use lguest_init::frame::{CommandId, FromCommand, INPUT_WINDOW, ToCommand, ToGuest};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub(crate) use command::LinkedCommand;
pub(super) use command::PIECE;
#[cfg(test)]
pub(super) use command::REPORT_AFTER;
use output::CommandOutput;
pub(super) use output::Overrun;

/// The command of the launch itself (`--exec`). Later ones have other numbers.
const FIRST: CommandId = 0;

/// The most commands at once; more than anybody needs.
const MOST_COMMANDS: usize = 64;

/// How long to wait for a guest that does not read its console, before checking whether it has
/// ended.
const LOOK_MS: u16 = 200;

/// The connection to the init.
#[derive(Debug)]
pub(crate) struct InitLink {
    input: Arc<InputPipe>,
    state: Mutex<LinkState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LinkState {
    /// Whether the init has reported its version.
    has_greeted: bool,
    /// Whether the init waits for commands.
    is_ready: bool,
    /// Whether commands have to wait although the init is ready.
    is_held: bool,
    /// Whether the launch's own command has ended, or could not be started.
    is_decided: bool,
    /// Whether the guest has ended.
    is_over: bool,
    /// The guest was started again when it had printed this many bytes: the bytes before belong to
    /// the old guest. None if all of those were received.
    restarted_at: Option<u64>,
    /// The number of the last command that a client has started.
    last: CommandId,
    commands: BTreeMap<CommandId, CommandState>,
}

impl LinkState {
    /// Forget all commands, whose init is gone.
    fn close_commands(&mut self) {
        for command in std::mem::take(&mut self.commands).into_values() {
            command.output.close();
        }
    }
}

/// What is known of a command that has not ended.
#[derive(Debug, Default)]
struct CommandState {
    /// Whether the guest may know of the command.
    is_begun: bool,
    /// Whether the command can get input.
    is_started: bool,
    /// How many bytes of input may be sent.
    credit: u32,
    /// The window's columns and rows, if the init has yet to get them.
    window: Option<(u16, u16)>,
    output: Arc<CommandOutput>,
}

impl InitLink {
    /// A connection to a guest that reads this input.
    pub(crate) fn new(input: &Arc<InputPipe>) -> Self {
        Self { input: Arc::clone(input), state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        lock(&self.state)
    }

    /// The init has reported its version. Commands of an init before it are gone.
    pub(super) fn greet(&self) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.has_greeted, true) {
            state.is_ready = false;
            state.close_commands();
            self.changed.notify_all();
        }
    }

    /// The init waits for commands.
    pub(crate) fn be_ready(&self) {
        let mut state = self.lock();
        (state.has_greeted, state.is_ready) = (true, true);
        self.changed.notify_all();
    }

    /// Whether the init has reported its version.
    pub(crate) fn has_greeted(&self) -> bool {
        self.lock().has_greeted
    }

    /// Whether the init waits for commands.
    pub(crate) fn is_ready(&self) -> bool {
        self.lock().is_ready
    }

    /// Whether the launch's own command has ended, or could not be started: its last frame decides
    /// how the launch ends, whatever the guest sends after it.
    pub(super) fn is_decided(&self) -> bool {
        self.lock().is_decided
    }

    /// Whether no command was started that has not ended.
    pub(crate) fn is_idle(&self) -> bool {
        !self.lock().commands.values().any(|command| command.is_begun)
    }

    /// Let commands wait although the init is ready, or no more.
    pub(crate) fn hold(&self, is_held: bool) {
        self.lock().is_held = is_held;
        self.changed.notify_all();
    }

    /// The guest is about to be started again, and its commands are gone. It has printed `printed`
    /// bytes on the console so far.
    ///
    /// # Errors
    /// When the input cannot be discarded, which is not expected.
    pub(crate) fn restart(&self, printed: u64) -> io::Result<()> {
        let mut state = self.lock();
        (state.has_greeted, state.is_ready) = (false, false);
        state.restarted_at = Some(printed);
        state.close_commands();
        self.changed.notify_all();
        drop(state);
        // The old guest may have read a part of a frame.
        self.input.discard()
    }

    /// Returns how many of these bytes, up to the position `end` of the output, are the last ones of
    /// a guest that was started again.
    pub(super) fn old_bytes(&self, length: usize, end: u64) -> Option<usize> {
        let mut state = self.lock();
        let at = state.restarted_at?;
        let new = index(end.saturating_sub(at)).min(length);
        if end >= at {
            state.restarted_at = None;
        }
        Some(length.saturating_sub(new))
    }

    /// Wake up all waiting threads: the guest has ended.
    pub(crate) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    /// Whether the guest has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Wait until commands can be started, but not after `until`. Returns false if the time is over,
    /// or the guest has ended.
    pub(crate) fn wait_until_ready(&self, until: Option<Instant>) -> bool {
        let mut state = self.lock();
        while (!state.is_ready || state.is_held) && !state.is_over {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return false,
                Some(left) => wait_timeout(&self.changed, state, left),
                None => wait(&self.changed, state),
            };
        }
        !state.is_over
    }

    /// The command of the launch itself. It is started later.
    pub(crate) fn first_command(self: &Arc<Self>) -> LinkedCommand {
        let output = Arc::clone(&self.lock().commands.entry(FIRST).or_default().output);
        LinkedCommand::new(Arc::clone(self), FIRST, output)
    }

    /// A new command of a client, which is started later. None if there are too many.
    pub(crate) fn new_command(self: &Arc<Self>) -> Option<LinkedCommand> {
        let mut state = self.lock();
        if state.commands.len() >= MOST_COMMANDS {
            return None;
        }
        let mut id = state.last;
        loop {
            // 0 is the launch's, and the largest number belongs to the init.
            id = if id >= CommandId::MAX - 1 { 1 } else { id + 1 };
            if !state.commands.contains_key(&id) {
                break;
            }
        }
        state.last = id;
        let output = Arc::clone(&state.commands.entry(id).or_default().output);
        drop(state);
        Some(LinkedCommand::new(Arc::clone(self), id, output))
    }

    /// Report a new size of this terminal's window to the launch's command. Never waits; returns
    /// false if the caller has to report it again.
    pub(crate) fn resize(&self, columns: u16, rows: u16) -> bool {
        self.resize_of(FIRST, columns, rows)
    }

    fn resize_of(&self, id: CommandId, columns: u16, rows: u16) -> bool {
        let mut state = self.lock();
        let Some(command) = state.commands.get_mut(&id) else { return true };
        command.window = Some((columns, rows));
        let is_started = command.is_started;
        drop(state);
        !is_started || self.send_window(id)
    }

    /// Send the size of a window that the init has yet to get, if the command runs. Never waits while
    /// the input is not held; returns false if there was no room.
    fn send_window(&self, id: CommandId) -> bool {
        // The lock is not held in the call: the input may be held, by a thread that needs the lock.
        let mut state = self.lock();
        let command = state.commands.get_mut(&id).filter(|command| command.is_started);
        let Some((columns, rows)) = command.and_then(|command| command.window.take()) else {
            return true;
        };
        drop(state);
        let sent = self.send_now(&ToGuest::Command(id, ToCommand::Window { columns, rows }));
        if let (false, Some(command)) = (sent, self.lock().commands.get_mut(&id)) {
            command.window.get_or_insert((columns, rows));
        }
        sent
    }

    /// Forget a command of a client that was never begun.
    fn forget_if_never_begun(&self, id: CommandId) {
        let mut state = self.lock();
        if id != FIRST && state.commands.get(&id).is_some_and(|command| !command.is_begun) {
            state.commands.remove(&id);
        }
    }

    /// Take a frame of a command from the init. Frames of commands that have ended, or never
    /// existed, are ignored.
    ///
    /// # Errors
    /// When the guest sends more output than it was granted.
    pub(super) fn receive(&self, id: CommandId, frame: FromCommand) -> Result<(), Overrun> {
        let mut state = self.lock();
        let Some(command) = state.commands.get_mut(&id) else { return Ok(()) };
        if let FromCommand::Taken(count) = frame {
            // Bytes that were never sent do not count.
            command.credit = command.credit.saturating_add(count).min(INPUT_WINDOW);
            self.changed.notify_all();
            return Ok(());
        }
        let output = Arc::clone(&command.output);
        drop(state);
        let is_last = matches!(frame, FromCommand::Ended(_) | FromCommand::NotStarted(_));
        output.push(frame)?;
        if is_last {
            output.close();
            let mut state = self.lock();
            state.commands.remove(&id);
            state.is_decided |= id == FIRST;
            self.changed.notify_all();
        }
        Ok(())
    }

    /// End the output of all commands: the guest has sent its last frame.
    pub(super) fn close(&self) {
        for command in self.lock().commands.values() {
            command.output.close();
        }
    }

    /// Send a frame if there is room for it. Returns false if there is no room.
    pub(super) fn send_now(&self, frame: &ToGuest) -> bool {
        !matches!(self.input.send(&frame.encode()), Ok(0))
    }

    /// Send a frame for a command that has not ended. A pipe takes it as one. A sender that keeps to
    /// the credit does not wait here, unless the host grants small pipes only.
    fn send(&self, id: CommandId, frame: ToCommand) {
        let frame = ToGuest::Command(id, frame);
        let goes_on = || {
            let state = self.lock();
            !state.is_over && state.commands.contains_key(&id)
        };
        while goes_on() && !self.send_now(&frame) {
            let mut room = [PollFd::new(self.input.sender(), PollFlags::POLLOUT)];
            let _ = poll(&mut room, PollTimeout::from(LOOK_MS));
        }
    }
}

#[cfg(test)]
mod tests;
