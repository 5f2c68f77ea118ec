//! The follower's thread, with a real output and a real exit.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use host::exit::Exit;
use host::output::{CAPACITY, OutputRing};
use host::testing::until;

use crate::boot_test::follower::Follower;
use crate::boot_test::matcher::{Match, Matcher};
use crate::boot_test::patterns::Patterns;
use crate::boot_test::verdict::{self, Verdict};
use crate::config::BootTestConfig;
use crate::ending::Ending;

struct FollowerFixture {
    output: OutputRing,
    exit: Arc<Exit<Ending>>,
    follower: Follower,
}

fn following(expect: &[&str], fail_on: &[&str]) -> FollowerFixture {
    let patterns = Patterns::of(&BootTestConfig::looking_for(expect, fail_on)).unwrap();
    let (output, exit) = (OutputRing::new().unwrap(), Arc::new(Exit::new().unwrap()));
    let matcher = Matcher::new(patterns);
    let follower = Follower::start(&output, &exit, matcher).unwrap();
    FollowerFixture { output, exit, follower }
}

impl FollowerFixture {
    fn print(&self, text: &[u8]) {
        self.output.sink().write_all(text).unwrap();
    }

    /// The verdict, as soon as the follower has announced it.
    fn verdict(&self) -> Verdict {
        until("it is announced", || self.exit.take() == Some(Ending::Decided));
        verdict::decide(self.follower.examine_rest(), Duration::ZERO, None).unwrap()
    }
}

impl Drop for FollowerFixture {
    fn drop(&mut self) {
        self.output.finish();
        until("the follower has left", || self.output.is_left());
    }
}

#[test]
fn a_line_and_a_prompt_end_the_guest() {
    let fixture = following(&["^one$", "login: $"], &[]);
    fixture.print(b"one\r\ndebian login: ");
    let Verdict::Passed(text) = fixture.verdict() else { panic!("it was not seen") };
    assert!(text.starts_with("seen after ") && text.ends_with(" s: debian login:"), "{text}");
}

#[test]
fn a_forbidden_line_is_announced_after_a_rest() {
    let fixture = following(&["never"], &["BUG"]);
    fixture.print(b"a BUG here\n");
    let text = "--fail-on \"BUG\" matched: a BUG here".to_string();
    assert_eq!(fixture.verdict(), Verdict::ForbiddenSeen(text));
}

#[test]
fn a_panic_is_announced_when_its_text_has_ended() {
    let fixture = following(&["never"], &[]);
    fixture.print(b"Oops: 0002 [#1]\nKernel panic - not syncing: x\n---[ end Kernel panic ]---\n");
    let text = "Kernel panic - not syncing: x".to_string();
    assert_eq!(fixture.verdict(), Verdict::Panicked(text));
}

/// A panic whose report stops, and one whose report never ends.
#[test]
fn a_panic_without_end_is_announced_too() {
    let fixture = following(&["never"], &[]);
    fixture.print(b"Kernel panic - not syncing: x\nRIP: ");
    assert!(matches!(fixture.verdict(), Verdict::Panicked(_)));
}

/// The main thread asks before a match is announced: the whole output has been examined.
#[test]
fn the_whole_output_of_a_guest_that_ended_is_examined() {
    for round in 0..50 {
        let fixture = following(&["the last word"], &[]);
        fixture.print(&b"some line\n".repeat(round * 1000));
        fixture.print(b"the last word");
        let examined = fixture.follower.examine_rest();
        assert_eq!(examined.found, Some(Match::Expected("the last word".into())), "round {round}");
        assert_eq!((examined.awaited, examined.lost), (None, 0));
    }
}

#[test]
fn a_flood_is_examined_to_its_end() {
    let fixture = following(&["needle 9999"], &["absent"]);
    for number in 0..10_000 {
        fixture.print(format!("{}needle {number}\n", "hay ".repeat(500)).as_bytes());
    }
    assert!(matches!(fixture.verdict(), Verdict::Passed(_)));
    assert_eq!(fixture.follower.examine_rest().lost, 0);
}

/// More output at once than the ring has room for: a lossy writer does not wait.
#[test]
fn what_was_lost_is_counted() {
    let fixture = following(&["never"], &[]);
    fixture.output.sink().write_lossy(&vec![b'.'; 3 * CAPACITY]);
    assert_eq!(fixture.follower.examine_rest().lost, 2 * CAPACITY as u64);
}
