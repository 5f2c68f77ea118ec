//! The state of a console in a snapshot: what was printed and not yet read, what was typed and not
//! yet read, the size of the window. The user's terminal itself is not in it: a guest that is
//! restored gets the terminal that it is restored on.

use std::sync::atomic::Ordering;

use anyhow::{Context, Result, anyhow, ensure};
use devices::number::index;
use host::output::OutputState;
use serde::{Deserialize, Serialize};

use super::GuestConsole;

/// The state of a console, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsoleState {
    /// The columns and rows of the window.
    pub(crate) window: (u16, u16),
    /// Whether a driver in the guest has used the console.
    pub(crate) driven: bool,
    /// Whether the console leads to an init that waits for commands.
    pub(crate) is_init_ready: bool,
    /// The output, whose bytes come first in the console's file.
    pub(crate) output: OutputState,
    /// The number of bytes of typed input that the guest has not read. They follow in the file.
    pub(crate) input: u64,
}

/// The state of a console, with its bytes.
#[derive(Debug)]
pub(crate) struct SavedConsole {
    pub(crate) state: ConsoleState,
    /// Output, then input.
    bytes: Vec<u8>,
}

impl SavedConsole {
    /// The state of a console whose file has these bytes.
    ///
    /// # Errors
    /// When there are fewer bytes or more.
    pub(crate) fn new(state: ConsoleState, bytes: Vec<u8>) -> Result<Self> {
        let wanted = state.output.kept.checked_add(state.input);
        ensure!(
            wanted == Some(bytes.len() as u64),
            "it is damaged: {} bytes for {} of output and {} of input",
            bytes.len(),
            state.output.kept,
            state.input
        );
        Ok(Self { state, bytes })
    }

    /// The output and the input.
    fn parts(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at_checked(index(self.state.output.kept)).unwrap_or_default()
    }
}

impl GuestConsole {
    /// The state of the console, its output and its unread input. The guest is paused, and readers
    /// and typists are held.
    ///
    /// # Errors
    /// When the input cannot be copied, which is not expected.
    pub(crate) fn state(&self) -> Result<(ConsoleState, Vec<u8>, Vec<u8>)> {
        let Self {
            number: _,
            config: _,
            device: _,
            output,
            input,
            window,
            input_owner: _,
            init_link,
            ending: _,
            driven,
            status: _,
        } = self;
        let (output, printed) = output.state();
        let typed = input.state().context("copying a console's input")?;
        let state = ConsoleState {
            window: window.get(),
            driven: driven.load(Ordering::Relaxed),
            is_init_ready: init_link.as_ref().is_some_and(|link| link.is_ready()),
            output,
            input: typed.len() as u64,
        };
        Ok((state, printed, typed))
    }

    /// Continue a console that was saved. Nobody reads it or types yet.
    ///
    /// # Errors
    /// What is wrong with the state.
    pub(crate) fn restore(&self, saved: &SavedConsole) -> Result<()> {
        let ConsoleState { window, driven, is_init_ready, output, input: _ } = &saved.state;
        let (printed, typed) = saved.parts();
        self.output.restore(output, printed).map_err(|why| anyhow!(why))?;
        self.input.restore(typed)?;
        self.window.set(window.0, window.1);
        self.driven.store(*driven, Ordering::Relaxed);
        if let (true, Some(link)) = (*is_init_ready, &self.init_link) {
            link.be_ready();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::open_all;
    use super::*;
    use crate::config::console::ConsoleConfig;

    #[test]
    fn a_console_continues_where_it_was_saved() {
        let open = || open_all(&[ConsoleConfig::parsed("sock")]).unwrap().remove(0).0;
        let console = open();
        console.output.sink().write_all(b"printed").unwrap();
        console.input.send(b"typed").unwrap();
        console.window.set(132, 50);
        console.driven.store(true, Ordering::Relaxed);
        let (state, printed, typed) = console.state().unwrap();

        let again = open();
        let bytes = [printed.as_slice(), typed.as_slice()].concat();
        again.restore(&SavedConsole::new(state.clone(), bytes).unwrap()).unwrap();

        assert_eq!(again.state().unwrap(), (state, printed, typed));
        assert_eq!(again.output.peek().0, b"printed");
        assert_eq!(again.input.unread().unwrap(), b"typed");
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let output = OutputState { kept: 2, end: 2, read: 0, lost: 0 };
        let state = ConsoleState {
            window: (80, 24),
            driven: false,
            is_init_ready: false,
            output,
            input: 1,
        };
        for length in [0, 2, 4] {
            assert!(SavedConsole::new(state.clone(), vec![0; length]).is_err());
        }
        let state = ConsoleState { input: u64::MAX, ..state };
        assert!(SavedConsole::new(state, vec![0; 1]).is_err());
    }
}
