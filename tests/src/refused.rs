//! A launcher that refuses to start: it prints the reason in one line, and changes nothing. Tests
//! for this call [`Running::wait_refused`].

use crate::running::{End, Running};

impl Running {
    /// Waits until the launcher ends by itself, and returns how. Asserts that it printed one line
    /// on stderr that contains `words` and nothing on stdout, restored its terminal and left no
    /// process.
    #[must_use]
    #[track_caller]
    pub fn wait_refused(&mut self, words: &str) -> End {
        let end = self.wait();
        let said = self.stderr();
        assert!(said.starts_with("lguest: ") && said.lines().count() == 1, "{said}");
        assert!(said.contains(words), "{said:?} does not contain {words:?}");
        assert_eq!(self.text(), "");
        self.assert_terminal_restored();
        self.assert_no_process_left();
        end
    }
}
