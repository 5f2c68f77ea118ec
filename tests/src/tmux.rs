//! A tmux server for one test: what a person sees in its panes, and types there.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wait::{OrFail, patience, within};

/// The tmux server. Dropping the value ends it.
#[derive(Debug)]
pub struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// Starts a server with one window of 100 x 30, which runs this command in this directory.
    #[must_use]
    #[track_caller]
    pub fn new(directory: &Path, command: &str) -> Self {
        let tmux = Self { socket: directory.join("tmux") };
        let window = ["new-session", "-d", "-x", "100", "-y", "30", "-c"];
        let place = directory.to_str().or_fail("naming a directory");
        tmux.run(&[&["-f", "/dev/null"], &window[..], &[place, command]].concat());
        tmux
    }

    /// Runs a command of tmux, and returns what it prints.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(words).output();
        let output = output.or_fail("running tmux");
        assert!(output.status.success(), "tmux {words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What the pane shows.
    #[must_use]
    #[track_caller]
    pub fn screen(&self, pane: usize) -> String {
        self.run(&["capture-pane", "-p", "-t", &pane_name(pane)])
    }

    /// Waits until a pane shows `text`, and returns the screen.
    #[track_caller]
    pub fn expect(&self, pane: usize, text: &str) -> String {
        self.expect_that(pane, text, |screen| screen.contains(text))
    }

    /// Waits until `is` accepts what a pane shows.
    #[track_caller]
    pub fn expect_that(&self, pane: usize, what: &str, is: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        let shown = within(patience(), || {
            screen = self.screen(pane);
            is(&screen).then_some(())
        });
        assert!(shown.is_some(), "{what:?} is not on the screen of pane {pane}:\n{screen}");
        screen
    }

    /// Presses keys, by tmux's names for them, or types words.
    #[track_caller]
    pub fn keys(&self, pane: usize, keys: &[&str]) {
        self.run(&[&["send-keys", "-t", &pane_name(pane)], keys].concat());
    }
}

fn pane_name(pane: usize) -> String {
    format!(":0.{pane}")
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}
