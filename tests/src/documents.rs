//! README.md and the pages of docs/: what they show is done, and compared. The tests
//! `linux::documents` run a page ([`run`]); the tests `pages` look at what needs no guest.
//!
//! A block that begins with ```` ```console ```` is run. A line that begins with `$ ` is typed into
//! a bash, with those after it that begin with `> `; the lines up to the next are what is
//! printed, stdout and stderr, where `...` stands for anything: by itself for lines, within
//! a line for a part of it. `(3)` on the last line is the status, which else must be 0. All
//! blocks of a page are typed into the same bash ([`Shell`] has what it finds there).
//! ```` ```console skip="why" ```` is shown and not run. ```` ```toml ```` is a file for `--config`, and must
//! be accepted. ```` ```yaml file="PATH" ````, or of any kind, is that file of the repository. `text`
//! is what is neither typed nor checked.

mod expected;
mod page;
mod shell;

pub use expected::differs;
pub use page::{Block, Page, Step};
pub use shell::Shell;

use crate::wait::OrFail;

/// Do what a page shows; fail where something else comes out, or where nothing was done.
#[track_caller]
pub fn run(path: &str) {
    let page = Page::read(path);
    let Some(mut shell) = Shell::start() else { return };
    let mut done = 0;
    for block in &page.blocks {
        let place = format!("{path}:{}", block.line);
        match (block.kind.as_str(), &block.skip) {
            ("console", None) => done += type_all(&mut shell, path, block),
            ("console", Some(why)) => println!("{place}: not run: {why}"),
            ("toml", None) => {
                shell.file("page.toml", &block.text());
                let (said, status) = shell.type_in("lguest --config page.toml --print-config");
                assert_eq!(status, 0, "{place}: this is not a configuration:\n{said}");
                done += 1;
            }
            _ => {}
        }
    }
    println!("{path}: {done} commands did what it says");
    assert!(done > 0, "{path}: nothing in it can be run");
}

/// How many commands it was.
#[track_caller]
fn type_all(shell: &mut Shell, path: &str, block: &Block) -> usize {
    let steps = block.steps().or_fail(&format!("reading {path}:{}", block.line));
    for step in &steps {
        let (said, status) = shell.type_in(&step.command);
        let place = format!("{path}:{}: {}", step.line, step.command);
        if let Some(why) = differs(&step.output, &said) {
            panic!("{place}\n{why}\n--- it says\n{}\n--- it is\n{said}", step.output.join("\n"));
        }
        assert_eq!(status, step.status, "{place}: the exit status; it printed\n{said}");
    }
    steps.len()
}
