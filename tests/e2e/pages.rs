//! Checks of README.md, the pages of docs/ and the wording of the sources that need no guest.
//! `tests/docs` runs these, and then `linux::documents`.

mod blocks;
mod links;
mod names;
mod parts;
mod statuses;
mod wording;

use std::fs;
use std::path::Path;

use tests::documents::Page;
use tests::files::below;

/// Pages for people who change lguest or report its faults.
const FOR_CONTRIBUTORS: [&str; 4] =
    ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

/// Returns the paths of all pages for people who use lguest.
fn pages() -> Vec<String> {
    let docs = below(&Page::root().join("docs"));
    let docs = docs.iter().filter(|path| path.extension().is_some_and(|it| it == "md"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_string();
    let docs = docs.map(|path| format!("docs/{}", name(path)));
    ["README.md", "guest-images/README.md"].map(String::from).into_iter().chain(docs).collect()
}

/// Returns the code spans of a line: the text between single backquotes.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Returns all sources of the launcher, the devices and the init, with their paths.
fn sources() -> Vec<(String, String)> {
    let directories = ["launcher", "devices/src", "guest-images/init/src"];
    let files = directories.into_iter().flat_map(rust_files);
    files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The absolute paths of all Rust files below a directory of the repository.
fn rust_files(directory: &str) -> Vec<String> {
    let (mut directories, mut found) = (vec![Page::root().join(directory)], Vec::new());
    while let Some(directory) = directories.pop() {
        for path in below(&directory) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path.to_str().unwrap().to_string());
            }
        }
    }
    found
}
