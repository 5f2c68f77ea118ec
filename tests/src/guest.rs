//! A guest with a shell on its console.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::launch::Launch;
use crate::running::{End, Running};
use crate::wait::{patience, until};

/// The prompt of the initramfs' shell.
pub const PROMPT: &str = "guest# ";

/// A launcher whose guest runs a shell.
#[derive(Debug)]
pub struct Guest {
    running: Running,
    commands: u32,
}

impl Guest {
    /// Boots Linux on a terminal, and waits until its shell is ready.
    #[must_use]
    #[track_caller]
    pub fn boot() -> Self {
        Self::of(Launch::linux().on_terminal())
    }

    /// Waits until the shell of this launcher's guest is ready.
    #[must_use]
    #[track_caller]
    pub fn of(mut running: Running) -> Self {
        running.expect(PROMPT);
        Self { running, commands: 0 }
    }

    /// Waits until keys go to a guest whose shell waits already: it was saved, and this launcher
    /// continues it.
    #[must_use]
    #[track_caller]
    pub fn continued(running: Running) -> Self {
        // Until then, the terminal would echo the keys.
        until("the terminal is the guest's", || running.pty().snapshot().is_raw().then_some(()));
        // Marks of commands must differ from those before.
        Self { running, commands: 1000 }
    }

    /// Runs a command, asserts that it succeeds, and returns what it prints.
    #[track_caller]
    pub fn run(&mut self, command: &str) -> String {
        self.run_within(command, patience())
    }

    /// Runs a command that may take up to `time`; see [`Self::run`].
    #[track_caller]
    pub fn run_within(&mut self, command: &str, time: Duration) -> String {
        let (output, status) = self.outcome(command, time);
        assert_eq!(status, "0", "`{command}` failed in the guest: {output}");
        output
    }

    /// Runs a command, and returns what it prints and its exit status.
    #[track_caller]
    fn outcome(&mut self, command: &str, time: Duration) -> (String, String) {
        // The shell also echoes the line. The quotes in it keep the echo from containing the marks.
        self.commands += 1;
        let mark = self.commands;
        let end = if command.ends_with('&') { "" } else { ";" };
        self.running.send(format!("echo '<'{mark}; {command}{end} echo $?'>'{mark}\r"));
        self.running.expect(&format!("<{mark}\r\n"));
        let said = self.running.expect_within(&format!(">{mark}\r\n"), time);
        self.running.expect(PROMPT);
        let said = said.replace("\r\n", "\n");
        let (output, status) = said.rsplit_once('\n').unwrap_or(("", &said));
        (output.to_string(), status.to_string())
    }

    /// Types a line without waiting for anything.
    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        self.running.send(format!("{line}\r"));
    }

    /// Powers the guest off, and returns how the launcher ended.
    #[track_caller]
    pub fn power_off(&mut self) -> End {
        self.type_line("poweroff -f");
        self.wait()
    }
}

impl Deref for Guest {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Guest {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}
