//! The format of the pages, as `tests::documents` reads it.

use tests::documents::{Page, differs};

fn lines(text: &str) -> Vec<String> {
    text.lines().map(String::from).collect()
}

#[test]
fn matching_output_is_accepted() {
    for (expected, output) in [
        ("", ""),
        ("a\nb", "a\r\nb\r\n"),
        ("...", ""),
        ("...", "a\nb\n"),
        ("...\nb", "a\nx\nb\n"),
        ("...\nb\n...\nc", "b\nb\nc\n"),
        ("a...c", "abc\n"),
        ("a...", "a\n"),
        ("...b...", "abc\n"),
        ("a...b...c", "a-b--c\n"),
    ] {
        assert_eq!(differs(&lines(expected), output), None, "{expected:?}, {output:?}");
    }
}

#[test]
fn different_output_is_reported() {
    for (expected, output) in [
        ("", "a\n"),
        ("a", ""),
        ("a", "b\n"),
        ("a", "a\nb\n"),
        ("a\n...\nc", "a\nb\n"),
        ("...\nb", "b\nc\n"),
        ("a...c", "ab\n"),
        ("ab...ba", "aba\n"),
    ] {
        assert!(differs(&lines(expected), output).is_some(), "{expected:?}, {output:?}");
    }
}

#[test]
fn a_block_is_commands_with_their_output_and_status() {
    let page = Page::parse("a\n```console\n$ one\n1\n> 2\n(3)\n$ two 'b\n> c'\n```\n").unwrap();
    let steps = page.blocks[0].steps().unwrap();
    assert_eq!((steps[0].line, steps[0].command.as_str(), steps[0].status), (3, "one", 3));
    assert_eq!(steps[0].output, ["1", "> 2"]);
    assert_eq!((steps[1].command.as_str(), steps[1].status), ("two 'b\nc'", 0));
    assert!(steps[1].output.is_empty());
}

#[test]
fn a_block_that_is_not_run_says_why() {
    let page = Page::parse("```console skip=\"no time\"\n$ sleep 1000\n```\n").unwrap();
    assert_eq!(page.blocks[0].skip.as_deref(), Some("no time"));
}

#[test]
fn a_block_that_does_not_end_is_an_error() {
    assert!(Page::parse("```console\n$ true\n").is_err());
}
