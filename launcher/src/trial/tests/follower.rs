//! The thread, with real output and a real exit.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use host::exit::Exit;
use host::output::{CAPACITY, Output};
use host::testing::until;

use crate::config::TrialConfig;
use crate::ending::Ending;
use crate::trial::follower::Follower;
use crate::trial::matcher::{Found, Matcher};
use crate::trial::patterns::Patterns;
use crate::trial::verdict::{self, Verdict};

struct Setting {
    output: Output,
    exit: Arc<Exit<Ending>>,
    follower: Follower,
}

fn following(expect: &[&str], fail_on: &[&str]) -> Setting {
    let patterns = Patterns::of(&TrialConfig::looking_for(expect, fail_on)).unwrap();
    let (output, exit) = (Output::new().unwrap(), Arc::new(Exit::new().unwrap()));
    let matcher = Matcher::new(patterns);
    let follower = Follower::start(&output, &exit, matcher).unwrap();
    Setting { output, exit, follower }
}

impl Setting {
    fn print(&self, text: &[u8]) {
        self.output.sink().write_all(text).unwrap();
    }

    /// The verdict, once it is announced that the guest is to end.
    fn verdict(&self) -> Verdict {
        until("it is announced", || self.exit.take() == Some(Ending::Decided));
        verdict::settle(self.follower.settle(), Duration::ZERO, None).unwrap()
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        self.output.finish();
        until("the follower has left", || self.output.is_left());
    }
}

#[test]
fn a_line_and_a_prompt_end_the_guest() {
    let setting = following(&["^one$", "login: $"], &[]);
    setting.print(b"one\r\ndebian login: ");
    let Verdict::Seen(text) = setting.verdict() else { panic!("it was not seen") };
    assert!(text.starts_with("seen after ") && text.ends_with(" s: debian login:"), "{text}");
}

#[test]
fn what_is_unwanted_is_announced_when_it_has_had_its_say() {
    let setting = following(&["never"], &["BUG"]);
    setting.print(b"a BUG here\n");
    let text = "--fail-on \"BUG\" matched: a BUG here".to_string();
    assert_eq!(setting.verdict(), Verdict::Unwanted(text));
}

#[test]
fn a_panic_is_announced_when_its_text_has_ended() {
    let setting = following(&["never"], &[]);
    setting.print(b"Oops: 0002 [#1]\nKernel panic - not syncing: x\n---[ end Kernel panic ]---\n");
    let text = "Kernel panic - not syncing: x".to_string();
    assert_eq!(setting.verdict(), Verdict::Panicked(text));
}

/// A panic that says no more, and one that never ends.
#[test]
fn a_panic_without_end_is_announced_all_the_same() {
    let setting = following(&["never"], &[]);
    setting.print(b"Kernel panic - not syncing: x\nRIP: ");
    assert!(matches!(setting.verdict(), Verdict::Panicked(_)));
}

/// Main asks before anything is announced: all that was printed has been looked at.
#[test]
fn a_guest_that_ends_is_settled_with_all_that_it_said() {
    for round in 0..50 {
        let setting = following(&["the last word"], &[]);
        setting.print(&b"some line\n".repeat(round * 1000));
        setting.print(b"the last word");
        let settled = setting.follower.settle();
        assert_eq!(settled.found, Some(Found::Seen("the last word".into())), "round {round}");
        assert_eq!((settled.awaited, settled.lost), (None, 0));
    }
}

#[test]
fn a_flood_is_looked_at_to_its_end() {
    let setting = following(&["needle 9999"], &["absent"]);
    for number in 0..10_000 {
        setting.print(format!("{}needle {number}\n", "hay ".repeat(500)).as_bytes());
    }
    assert!(matches!(setting.verdict(), Verdict::Seen(_)));
    assert_eq!(setting.follower.settle().lost, 0);
}

/// More at once than there is room for: who prints so waits for nobody.
#[test]
fn what_was_lost_is_counted() {
    let setting = following(&["never"], &[]);
    setting.output.sink().write_lossy(&vec![b'.'; 3 * CAPACITY]);
    assert_eq!(setting.follower.settle().lost, 2 * CAPACITY as u64);
}
