//! A launcher that does not start what it was told to: it says why in one line, and touches
//! nothing. A test that expects it says [`Running::wait_refused`].

use crate::running::{End, Running};

impl Running {
    /// Wait until it ends by itself: with one line on stderr, that contains `words`, nothing on
    /// stdout, its terminal as it was and no process left; how it ended.
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
