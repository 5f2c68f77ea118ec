//! A network namespace for one test. Other tests do not see its interfaces, and it disappears with
//! the test.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use crate::skip::is_root;
use crate::wait::{OrFail, within};
use crate::{patience, until};

/// The network namespace of the calling thread, and of the programs that it starts.
#[derive(Debug)]
pub struct Network(());

impl Network {
    /// Creates an empty network. Skips the test and returns `None` without root.
    #[must_use]
    #[track_caller]
    pub fn new() -> Option<Self> {
        if !is_root("a network namespace") {
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNET).or_fail("making a network namespace");
        Some(Self(()))
    }

    /// Runs ip(8), asserts that it succeeds, and returns what it prints.
    #[track_caller]
    pub fn ip(&self, words: &str) -> String {
        let (done, said) = self.program("ip", words);
        assert!(done, "ip {words}: {said}");
        said
    }

    /// Runs a program with these words. Returns whether it succeeded, and what it printed.
    #[track_caller]
    pub fn program(&self, program: &str, words: &str) -> (bool, String) {
        let output = Command::new(program).args(words.split_whitespace()).output();
        let output = output.or_fail(&format!("running {program}"));
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    }

    /// Whether there is an interface of this name.
    #[must_use]
    #[track_caller]
    pub fn has(&self, interface: &str) -> bool {
        self.program("ip", &format!("link show dev {interface}")).0
    }

    /// Waits until the interface exists (`there`), or no longer exists.
    #[track_caller]
    pub fn wait_for(&self, interface: &str, there: bool) {
        let what = format!("{interface} is {}there", if there { "" } else { "not " });
        until(&what, || (self.has(interface) == there).then_some(()));
    }

    /// Waits until an address answers to ping. A driver may be slow to come up.
    #[track_caller]
    pub fn expect_answer(&self, address: &str) {
        let answers = || self.program("ping", &format!("-c 1 -W 1 {address}")).0.then_some(());
        within(patience(), answers).or_fail(&format!("waiting until {address} answers"));
    }

    /// Pings an address `count` times with these options, and asserts that all pings are answered.
    #[track_caller]
    pub fn ping(&self, count: u32, options: &str, address: &str) {
        let (done, said) =
            self.program("ping", &format!("-c {count} -i 0.05 -W 20 {options} {address}"));
        assert!(done && said.contains(" 0% packet loss"), "{said}");
    }
}
