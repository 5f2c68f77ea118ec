//! Commands are only in blocks that are run, and no page is left out.

use std::fs;

use tests::documents::Page;

use super::pages;
use crate::linux::documents::PAGES;

/// The beginnings of lines that look like commands.
const TYPED: [&str; 4] = ["$ ", "lguest ", "sudo ", "make "];

#[test]
fn every_page_with_commands_is_run() {
    for path in pages() {
        let page = Page::read(&path);
        let runs = |kind: &str| kind == "console" || kind == "toml";
        let needs = page.blocks.iter().any(|block| runs(&block.kind) && block.skip.is_none());
        let has = PAGES.contains(&path.as_str());
        assert_eq!(
            needs, has,
            "{path}: a page must be in tests/e2e/linux/documents.rs if it has commands"
        );
    }
}

#[test]
fn every_block_is_of_a_known_kind() {
    for path in pages() {
        for block in Page::read(&path).blocks {
            let place = format!("{path}:{}", block.line);
            match block.kind.as_str() {
                "console" => drop(block.steps().expect(&place)),
                "toml" => {}
                "text" => {
                    let looks =
                        |line: &&String| TYPED.iter().any(|it| line.trim_start().starts_with(it));
                    let command = block.lines.iter().find(looks);
                    assert_eq!(command, None, "{place}: a command in a text block");
                }
                kind => assert!(block.file.is_some(), "{place}: {kind:?} needs file=\"...\""),
            }
        }
    }
}

/// Markdown's indented blocks cannot say what they contain.
#[test]
fn no_block_is_made_by_indentation() {
    for path in pages() {
        let mut before = String::new();
        for (number, line) in Page::read(&path).prose {
            let indented = line.starts_with("    ") && before.trim().is_empty();
            assert!(!indented, "{path}:{number}: use ```: {line}");
            before = line;
        }
    }
}

#[test]
fn a_block_that_shows_a_file_is_that_file() {
    for path in pages() {
        for block in Page::read(&path).blocks {
            let Some(file) = &block.file else { continue };
            let text = fs::read_to_string(Page::root().join(file)).unwrap();
            assert_eq!(block.text(), text, "{path}:{}: {file} is not so", block.line);
        }
    }
}
