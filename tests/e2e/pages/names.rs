//! What pages name exists in the sources: files, functions, messages, figures, tests.

use std::collections::BTreeMap;
use std::fs;

use tests::documents::Page;

use super::links::targets;
use super::{sources, spans};

/// In docs/internals.md, `Type::function` or `function()` must be defined in the source of the last
/// link before it.
#[test]
fn internals_names_existing_functions() {
    let sources = sources();
    let (mut file, mut seen) = (None, 0);
    let prose = Page::read("docs/internals.md").prose;
    let words = prose.iter().flat_map(|(number, line)| in_order(line).map(move |it| (number, it)));
    for (number, word) in words {
        let place = format!("docs/internals.md:{number}: {word}");
        if let Some(linked) = word.strip_prefix("../").filter(|it| it.ends_with(".rs")) {
            file = sources.iter().find(|(path, _)| path.ends_with(&format!("/{linked}")));
            assert!(file.is_some(), "{place}: no such file");
        } else if word.contains("::") || word.ends_with("()") {
            let (_, text) = file.expect(&place);
            let names = word.trim_end_matches("()").split("::");
            let missing = names.filter(|name| !defines(text, name)).collect::<Vec<_>>();
            assert!(
                missing.is_empty(),
                "{place}: not defined in the file of the last link: {missing:?}"
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "the page names only {seen} items");
}

/// Returns code spans and targets of links in the order of the line.
fn in_order(line: &str) -> impl Iterator<Item = &str> {
    let (links, names) = (targets(line), spans(line));
    let mut words: Vec<_> = links.chain(names).collect();
    words.sort_by_key(|word| word.as_ptr());
    words.into_iter()
}

fn defines(text: &str, name: &str) -> bool {
    let kinds = ["fn", "struct", "enum", "trait", "const", "static", "mod"];
    let defined = kinds.iter().any(|kind| {
        let definition = format!("{kind} {name}");
        text.match_indices(&definition).any(|(at, _)| {
            let after = text[at + definition.len()..].chars().next();
            after.is_some_and(|it| !it.is_alphanumeric() && it != '_')
        })
    });
    // A variant of an enum may be alone on its line; an `impl` names a type of another file.
    let variant = |line: &str| {
        let line = line.trim().trim_end_matches(',');
        line.split('(').next() == Some(name) || line.starts_with(&format!("impl {name} {{"))
    };
    defined || text.lines().any(variant)
}

/// In docs/troubleshooting.md, a heading of the third level is a message, with `...` for the part
/// that differs.
#[test]
fn the_messages_of_troubleshooting_are_in_the_sources() {
    let all: String = sources().into_iter().map(|(_, text)| in_one_line(&text)).collect();
    let mut seen = 0;
    for (number, line) in Page::read("docs/troubleshooting.md").prose {
        for message in line.strip_prefix("### ").into_iter().flat_map(spans) {
            for part in message.split("...") {
                let part = part.trim_matches(|it: char| !it.is_alphanumeric());
                let found = all.contains(part);
                assert!(found, "docs/troubleshooting.md:{number}: no message says {part:?}");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "the page has only {seen} messages");
}

/// Returns the source with string literals as they are printed: continued lines joined, and escaped
/// quotes plain.
fn in_one_line(source: &str) -> String {
    let mut parts = source.split("\\\n");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |all, part| all + part.trim_start()).replace("\\\"", "\"")
}

/// The comparison only has figures that docs/benchmarks.md has.
#[test]
fn figures_of_the_comparison_were_measured() {
    let measured: String =
        Page::read("docs/benchmarks.md").prose.into_iter().map(|(_, line)| line + "\n").collect();
    let units = ["ms", "s", "µs", "MiB", "MB/s", "IOPS"];
    for (number, line) in Page::read("docs/comparison.md").prose {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let value = pair[0].trim_matches(|it: char| !it.is_ascii_digit());
            let unit = pair[1].trim_matches(|it: char| !it.is_alphabetic());
            let is_figure = !value.is_empty() && units.contains(&unit);
            let figure = format!("{value} {unit}");
            let known = !is_figure || measured.contains(&figure);
            assert!(known, "docs/comparison.md:{number}: {figure} is not in docs/benchmarks.md");
        }
    }
}

/// Tests that pages name by a file below tests/ exist.
#[test]
fn the_tests_that_are_named_exist() {
    for path in super::pages() {
        let page = Page::read(&path);
        let skips = page.blocks.iter().filter_map(|block| Some((block.line, block.skip.clone()?)));
        for (number, text) in page.prose.iter().cloned().chain(skips) {
            let words = text.split(|it: char| it.is_whitespace() || "`,;:()".contains(it));
            for file in words.filter(|word| word.starts_with("tests/")) {
                let file = file.trim_end_matches('.');
                assert!(Page::root().join(file).exists(), "{path}:{number}: there is no {file}");
            }
        }
    }
}

/// A code span like `kvm::hostile::every_attack...`, or a long name with underscores, is a test
/// that docs/security.md, ARCHITECTURE.md or CONTRIBUTING.md names.
#[test]
fn the_tests_named_for_rules_and_attacks_exist() {
    let source = |path: &str| fs::read_to_string(path).unwrap();
    let tests: String = super::rust_files("tests").iter().map(|path| source(path)).collect();
    let all = tests + &super::sources().into_iter().map(|(_, text)| text).collect::<String>();
    let mut seen = 0;
    for page in ["docs/security.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        for (number, line) in &Page::read(page).prose {
            let is_name = |span: &str| !span.contains(|it: char| it.is_uppercase() || it == '=');
            let is_long = |span: &str| span.contains("::") || span.matches('_').count() > 2;
            let is_test = |span: &&str| is_name(span) && is_long(span);
            for path in spans(line).filter(is_test) {
                let name = path.rsplit("::").next().unwrap();
                assert!(defines(&all, name), "{page}:{number}: {path}: no such test");
                seen += 1;
            }
        }
    }
    assert!(seen > 150, "the pages name only {seen} tests");
}

/// The packages whose unit tests docs/security.md names, with their directories.
const PACKAGES: [(&str, &str); 6] = [
    ("devices", "devices/src"),
    ("wire", "launcher/wire/src"),
    ("machine", "launcher/machine/src"),
    ("host", "launcher/host/src"),
    ("lguest", "launcher/src"),
    ("init", "guest-images/init/src"),
];

/// The package that is named before a unit test has this test.
#[test]
fn the_unit_tests_named_for_attacks_are_in_their_package() {
    let sources = |directory: &str| -> String {
        super::rust_files(directory).iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    };
    let packages = BTreeMap::from(PACKAGES.map(|(name, directory)| (name, sources(directory))));
    let mut seen = 0;
    for (number, package, test) in unit_tests(&Page::read("docs/security.md").prose) {
        let source = packages.get(package);
        let source = source.unwrap_or_else(|| panic!("{number}: {test}: no package before it"));
        let name = test.rsplit("::").next().unwrap();
        assert!(defines(source, name), "docs/security.md:{number}: {test} is not in {package}");
        seen += 1;
    }
    assert!(seen > 60, "docs/security.md names only {seen} unit tests");
}

/// The unit tests of a page: the line, the package that is named before, and the test. A row or
/// paragraph names its packages anew.
fn unit_tests(prose: &[(usize, String)]) -> Vec<(usize, &str, &str)> {
    let (mut package, mut found) = ("", Vec::new());
    for (number, line) in prose {
        if line.starts_with('|') || line.trim().is_empty() {
            package = "";
        }
        // Text and code spans take turns.
        for (index, part) in line.split('`').enumerate() {
            let is_end_to_end = part.starts_with("kvm::") || part.starts_with("linux::");
            if index % 2 == 1 && part.contains("::tests::") && !is_end_to_end {
                found.push((*number, package, part));
            }
            let words = part.split_whitespace().filter_map(|word| word.strip_suffix(':'));
            let words = words.map(|word| word.trim_start_matches('('));
            let is_package = |word: &&str| PACKAGES.iter().any(|(name, _)| name == word);
            package = words.rev().find(is_package).unwrap_or(package);
        }
    }
    found
}

/// The device that CONTRIBUTING.md uses as an example, which does not exist.
const EXAMPLE: &str = "balloon";

/// The files that pages for contributors name exist.
#[test]
fn the_files_named_for_contributors_exist() {
    let areas = ["devices/", "launcher/", "tests/", "fuzz/", "guest-images/", "docs/"];
    let mut seen = 0;
    for page in super::FOR_CONTRIBUTORS {
        for (number, line) in &Page::read(page).prose {
            let is_path = |span: &&str| areas.iter().any(|area| span.starts_with(area));
            for path in spans(line).filter(is_path).filter(|path| !path.contains(EXAMPLE)) {
                assert!(Page::root().join(path).exists(), "{page}:{number}: no file {path}");
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "the pages name only {seen} files");
}

#[test]
fn documents_name_the_oldest_rust() {
    let manifest = fs::read_to_string(Page::root().join("Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let version = version.unwrap().trim_matches('"');
    for page in ["README.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(Page::root().join(page)).unwrap();
        assert!(text.contains(&format!("Rust {version}")), "{page} does not say Rust {version}");
    }
}
