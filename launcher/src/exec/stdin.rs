//! The launcher's stdin as the input of a command.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::stdin::InputSink;

use super::link::LinkedCommand;

/// How long a command may read nothing from its terminal. Then typed keys are dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// The command's stdin.
#[derive(Debug)]
pub(super) struct CommandStdin {
    command: Arc<LinkedCommand>,
    /// Whether the command has read what was last typed.
    reads: bool,
}

impl CommandStdin {
    pub(super) fn new(command: &Arc<LinkedCommand>) -> Self {
        Self { command: Arc::clone(command), reads: true }
    }

    /// Warn once that the command does not read. Before the init is ready, no command is to blame.
    fn warn_not_read(&mut self) {
        if self.reads && self.command.can_read() {
            log::warn!("the command does not read its terminal: what is typed is lost");
            self.reads = false;
        }
    }
}

impl InputSink for CommandStdin {
    fn hand_on(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.command.send_some(bytes, None)?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    fn type_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let patience = if self.reads { PATIENCE } else { Duration::ZERO };
            let until = Some(Instant::now() + patience);
            match self.command.send_some(bytes, until) {
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
        self.command.end_input();
    }
}
