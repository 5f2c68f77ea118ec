//! The exit statuses on the pages are those of `lguest help status`, which comes from the
//! launcher's own table.

use std::collections::BTreeSet;
use std::process::Command;

use tests::documents::Page;
use tests::environment::launcher;

/// Returns the first column of a page's tables of statuses.
fn on_page(path: &str) -> BTreeSet<String> {
    let prose = Page::read(path).prose;
    let mut lines = prose.iter().map(|(_, line)| line.as_str());
    let mut found = BTreeSet::new();
    while lines.any(|line| line == "| status | |") {
        // A rule follows the heading.
        let rows = lines.by_ref().skip(1).take_while(|line| line.starts_with("| "));
        found.extend(rows.filter_map(|row| Some(row.split('|').nth(1)?.trim().to_string())));
    }
    found
}

/// Returns the statuses of the launcher.
fn of_the_launcher() -> BTreeSet<String> {
    let output = Command::new(launcher()).args(["help", "status"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("  "));
    rows.filter_map(|row| Some(row.split_once(' ')?.0.to_string())).collect()
}

#[test]
fn readme_has_every_status() {
    let known = of_the_launcher();
    assert!(known.contains("102") && known.contains("128+N"), "{known:?}");
    assert_eq!(on_page("README.md"), known);
}

#[test]
fn no_page_has_an_unknown_status() {
    let mut known = of_the_launcher();
    // The status of a command that a shell does not find.
    known.insert("127".into());
    for path in super::pages() {
        let unknown: Vec<_> = on_page(&path).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{path}: lguest help status knows of no {unknown:?}");
    }
    // Pages about a part of lguest list some of the statuses.
    for path in ["docs/exec.md", "docs/boot-tests.md"] {
        assert!(on_page(path).len() > 4, "{path}");
    }
}
