//! Runs the commands in README.md and docs/, and compares their output. The tests
//! `linux::documents` run a page ([`run`]); the tests `pages` check what needs no guest.
//!
//! A block that begins with ```` ```console ```` is run. A line that begins with `$ ` is typed into
//! bash, together with the lines after it that begin with `> `. The lines up to the next command
//! are the expected output, stdout and stderr together. In them, `...` stands for anything: for any
//! lines if it is a line of its own, otherwise for a part of the line. `(3)` in the last line is
//! the expected exit status; without it, the status must be 0. All blocks of a page are typed into
//! the same bash ([`Shell`] describes its directory). A block ```` ```console skip="why" ```` is
//! not run. A block ```` ```toml ```` is a file for `--config`, which lguest must accept. A block
//! with `file="PATH"`, of any kind, must be equal to that file of the repository. A block of the
//! kind `text` is neither run nor checked.

mod expected;
mod page;
mod shell;

pub use expected::differs;
pub use page::{Block, Page, Step};
pub use shell::Shell;

use crate::wait::OrFail;

/// Runs the commands of a page. Fails if the output of one differs, or if the page has no command.
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
    println!("{path}: {done} commands printed what the page says");
    assert!(done > 0, "{path}: the page has no command");
}

/// Types all commands of a block, and returns how many there were.
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
