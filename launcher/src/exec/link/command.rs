//! One command, as its user on the host sees it: the launch itself, or a client of `lguest exec`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices::mutex::{wait, wait_timeout};
use devices::number::{clamped_u32, index};
use lguest_init::frame::{CommandId, FromCommand, HEADER, INPUT_WINDOW, MOST_TO_GUEST, ToCommand};
use lguest_init::order::CommandOrder;

use super::{CommandOutput, InitLink};

/// The most bytes of a piece: a frame of them fits into a pipe.
pub(in crate::exec) const PIECE: usize = MOST_TO_GUEST - HEADER;

/// How many bytes of output are written before the guest gets a report.
pub(in crate::exec) const REPORT_AFTER: u32 = 64 << 10;

/// A command in the guest, which is to be started, runs or has ended.
#[derive(Debug)]
pub(crate) struct LinkedCommand {
    link: Arc<InitLink>,
    id: CommandId,
    output: Arc<CommandOutput>,
}

impl LinkedCommand {
    pub(super) fn new(link: Arc<InitLink>, id: CommandId, output: Arc<CommandOutput>) -> Self {
        Self { link, id, output }
    }

    /// The number of the command.
    #[cfg(test)]
    pub(super) fn id(&self) -> CommandId {
        self.id
    }

    /// Start the command. The init is ready.
    pub(crate) fn start(&self, order: &CommandOrder) {
        // From now on, the guest may know of the command.
        if let Some(command) = self.link.lock().commands.get_mut(&self.id) {
            command.is_begun = true;
        }
        for piece in order.to_bytes().chunks(PIECE) {
            self.send(ToCommand::Order(piece.to_vec()));
        }
        self.send(ToCommand::Start);
        let mut state = self.link.lock();
        if let Some(command) = state.commands.get_mut(&self.id) {
            command.is_started = true;
            command.credit = INPUT_WINDOW;
        }
        drop(state);
        self.link.changed.notify_all();
        self.link.send_window(self.id);
    }

    /// Wait until the command is started. Returns false if the guest ends before.
    fn wait_until_started(&self) -> bool {
        let mut state = self.link.lock();
        loop {
            let command = state.commands.get(&self.id);
            if state.is_over || command.is_none_or(|command| command.is_started) {
                return !state.is_over;
            }
            state = wait(&self.link.changed, state);
        }
    }

    /// Whether the init waits for commands, or has started this one.
    pub(in crate::exec) fn can_read(&self) -> bool {
        self.link.is_ready()
    }

    /// Send as many of these bytes as the credit allows, as input of the command. Returns how many:
    /// 0 only if there is no credit until then.
    ///
    /// # Errors
    /// When the command or the guest has ended.
    pub(crate) fn send_some(&self, bytes: &[u8], until: Option<Instant>) -> io::Result<usize> {
        let mut state = self.link.lock();
        let most = loop {
            let is_over = state.is_over;
            let command = state.commands.get_mut(&self.id);
            let Some(command) = command.filter(|_| !is_over) else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            if command.credit > 0 {
                let most = clamped_u32(PIECE.min(bytes.len()) as u64).min(command.credit);
                command.credit = command.credit.saturating_sub(most);
                break index(most);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return Ok(0),
                Some(left) => wait_timeout(&self.link.changed, state, left),
                None => wait(&self.link.changed, state),
            };
        };
        drop(state);
        self.send(ToCommand::Stdin(bytes.get(..most).unwrap_or_default().to_vec()));
        Ok(most)
    }

    /// Send the end of the input. The command may not be started yet.
    pub(crate) fn end_input(&self) {
        if self.wait_until_started() {
            self.send(ToCommand::StdinEnd);
        }
    }

    /// Send a new size of the window of the command's terminal.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.link.resize_of(self.id, columns, rows);
    }

    /// The next frame from the command. None when the guest has sent its last frame.
    pub(crate) fn next_output(&self) -> Option<FromCommand> {
        self.output.next()
    }

    /// Report that output of the command was written: `unreported` bytes so far without a report,
    /// of which there is one now and then.
    pub(crate) fn written(&self, count: usize, unreported: &mut u32) {
        *unreported = unreported.saturating_add(clamped_u32(count as u64));
        if *unreported >= REPORT_AFTER {
            let count = std::mem::take(unreported);
            self.output.written(count);
            self.send(ToCommand::Written(count));
        }
    }

    /// Leave the command, whose output nobody takes any more. It gets SIGHUP.
    pub(crate) fn leave(&self) {
        self.output.abandon();
        self.send(ToCommand::HangUp);
    }

    /// Send a frame, unless the command has ended.
    pub(in crate::exec) fn send(&self, frame: ToCommand) {
        self.link.send(self.id, frame);
    }
}

impl Drop for LinkedCommand {
    fn drop(&mut self) {
        self.link.forget_if_never_begun(self.id);
    }
}
