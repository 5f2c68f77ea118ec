//! Phrases that make readers stop, in pages, comments, help and messages.

use std::fs;
use std::path::Path;

use tests::documents::Page;

use super::{FOR_CONTRIBUTORS, pages, rust_files};

/// A phrase, and what to write instead.
type Phrase = (&'static str, &'static str);

/// Phrases that must not occur anywhere.
const PHRASES: [Phrase; 23] = [
    ("is none", "say what is missing or wrong: `does not exist`, `is not valid`"),
    ("are none", "say what is missing or wrong: `do not exist`, `are not valid`"),
    ("was none", "say what was missing or wrong: `did not exist`"),
    ("is no", "write `is not a`, `has no`, `there is no`"),
    ("no fourth", "count them: `exactly three`"),
    ("that there is not", "write `that does not exist`"),
    ("that there are not", "write `that do not exist`"),
    ("to be had", "write `available`, `cannot be read`"),
    ("has the like", "name what it has"),
    ("have the like", "name what they have"),
    ("is is", "name the subject: `the format is detected`"),
    ("whoever", "name the subject: the user, the client, the driver, the thread"),
    ("whomever", "name the object: the user, the client, the driver, the thread"),
    ("whom", "name the object: the user, the client, the driver, the thread"),
    ("told of", "write `reported`, `logged`, `notified`"),
    ("tell of", "write `report`, `describe`, `show`"),
    ("tells of", "write `reports`, `describes`, `shows`"),
    ("stand still", "write `pause`, `stop`, `hang`"),
    ("stands still", "write `is paused`, `is stopped`, `hangs`"),
    ("stood still", "write `was paused`, `was stopped`, `hung`"),
    ("in vain", "say what failed"),
    ("sit down", "write `attach`"),
    ("sits down", "write `attaches`"),
];

/// Phrases that must not occur in pages and comments. Messages may have them.
const PROSE_PHRASES: [Phrase; 14] = [
    ("so many", "write `this number of`, `how many`"),
    ("goes on", "write `continues`"),
    ("go on", "write `continue`"),
    ("is told", "write `gets`, `learns`, `is notified`; of a message: `is reported`"),
    ("are told", "write `get`, `learn`, `are notified`; of a message: `are reported`"),
    ("told to", "name the command or the option"),
    ("all the same", "write `still`, `nevertheless`"),
    ("as ever", "write `as usual`, `unchanged`"),
    ("looked at", "write `checked`, `examined`, `read`"),
    ("looks on", "write `watches`"),
    ("look on", "write `watch`"),
    ("found out", "write `detected`"),
    ("affair", "say who does it"),
    ("manners", "write `malformed`, `breaks the protocol`"),
];

/// Harmless phrases that contain one of [`PHRASES`]. The last one is Python.
const HARMLESS: [&str; 4] = ["there is no", "is no longer", "is no more", "is none else"];

/// Beginnings of doc comments that make no sense without another comment.
const STARTS: [Phrase; 6] = [
    ("the same", "repeat what it is: each doc comment is read alone"),
    ("see there", "name the place, or repeat what it is"),
    ("it now", "name the subject: `The state as it is now.`"),
    ("all of them", "name them: `All attacks.`"),
    ("both of them", "name them"),
    ("one of them", "name it: `A frame.`"),
];

/// What to do about a doc comment that begins with one of [`FIRST_WORDS`].
const NAME_THE_SUBJECT: &str = "begin with what the item is, or with what it does";

/// First words of doc comments that do not say what the item is.
const FIRST_WORDS: [&str; 13] = [
    "it", "its", "they", "their", "these", "those", "who", "whose", "of", "as", "so", "for",
    "nobody",
];

/// Lines that form one text: a sentence may continue from line to line.
#[derive(Default)]
struct Text {
    /// The number of the first line.
    first: usize,
    lines: Vec<String>,
    /// Whether the text begins a doc comment.
    begins_doc: bool,
    /// Whether the text is code with string literals, which may quote a message of the launcher.
    is_code: bool,
}

impl Text {
    /// Returns a line for each phrase in the text.
    fn faults(&self, path: &str) -> Vec<String> {
        let said = plain(&self.lines);
        let more = PROSE_PHRASES.iter().filter(|_| !self.is_code);
        let within = PHRASES.iter().chain(more).copied();
        let within = within.filter(|(phrase, _)| said.contains(&format!(" {phrase} ")));
        let words = FIRST_WORDS.iter().map(|word| (*word, NAME_THE_SUBJECT));
        let starts = STARTS.iter().copied().chain(words).filter(|_| self.begins_doc);
        let starts = starts.filter(|(phrase, _)| said.starts_with(&format!(" {phrase} ")));
        let faults = within.chain(starts).map(|(phrase, instead)| {
            let line = self.first + self.line_of(phrase);
            format!("{path}:{line}: \"{phrase}\": {instead}")
        });
        faults.collect()
    }

    /// Returns the line in which a phrase ends, counted from the first one.
    fn line_of(&self, phrase: &str) -> usize {
        let has = |end: usize| plain(&self.lines[..end]).contains(&format!(" {phrase} "));
        (1..self.lines.len()).find(|end| has(*end)).unwrap_or(self.lines.len()) - 1
    }
}

/// Returns the words in lower case with single spaces, without code in backquotes.
fn plain(lines: &[String]) -> String {
    let text = lines.join(" ").to_lowercase();
    let prose: Vec<_> = text.split('`').step_by(2).collect();
    let is_word = |it: char| it.is_alphanumeric() || "_'-".contains(it);
    let prose = prose.join(" _ ");
    let words: Vec<_> = prose.split(|it| !is_word(it)).filter(|it| !it.is_empty()).collect();
    let plain = format!(" {} ", words.join(" "));
    HARMLESS.iter().fold(plain, |plain, harmless| plain.replace(&format!(" {harmless} "), " _ "))
}

/// Splits a page into paragraphs, rows and items.
fn texts_of_page(prose: &[(usize, String)]) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::new();
    let mut last = 0;
    for (number, line) in prose {
        let begins = ["|", "- ", "#"].iter().any(|mark| line.starts_with(mark));
        if begins || line.trim().is_empty() || *number != last + 1 {
            texts.push(Text { first: *number, ..Text::default() });
        }
        last = *number;
        if let Some(text) = texts.last_mut() {
            text.lines.push(line.clone());
        }
    }
    texts
}

/// Splits a source into paragraphs of comments, and lines of code with their string literals.
fn texts_of_source(source: &str) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::new();
    let mut before = "";
    let mut goes_on = false;
    for (number, line) in (1..).zip(source.lines()) {
        let line = line.trim();
        let marker = ["///", "//!", "//"].into_iter().find(|it| line.starts_with(it));
        let marker = marker.unwrap_or_default();
        let words = line[marker.len()..].trim();
        if !(goes_on && marker == before) {
            let begins_doc = marker == "///" && before != "///";
            let is_code = marker.is_empty();
            texts.push(Text { first: number, begins_doc, is_code, ..Text::default() });
        }
        if let Some(text) = texts.last_mut() {
            text.lines.push(words.trim_end_matches('\\').to_string());
        }
        goes_on = if marker.is_empty() { line.ends_with('\\') } else { !words.is_empty() };
        before = marker;
    }
    texts
}

fn faults_of_source(path: &str, source: &str) -> Vec<String> {
    texts_of_source(source).iter().flat_map(|text| text.faults(path)).collect()
}

/// The directories with sources.
const SOURCES: [&str; 8] = [
    "devices/src",
    "launcher",
    "fuzz/src",
    "fuzz/fuzz_targets",
    "guest-images/init/src",
    "guest-images/guests/src",
    "tests/src",
    "tests/e2e",
];

#[test]
fn no_page_has_a_forbidden_phrase() {
    let all = pages().into_iter().chain(FOR_CONTRIBUTORS.map(String::from));
    let faults = all.flat_map(|path| {
        let texts = texts_of_page(&Page::read(&path).prose);
        texts.iter().flat_map(|text| text.faults(&path)).collect::<Vec<_>>()
    });
    let faults: Vec<_> = faults.collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn no_source_has_a_forbidden_phrase() {
    let files = SOURCES.into_iter().flat_map(rust_files);
    let files = files.filter(|path| !path.ends_with("pages/wording.rs"));
    let root = Page::root();
    let faults = files.flat_map(|path| {
        let short = Path::new(&path).strip_prefix(&root).unwrap().display().to_string();
        faults_of_source(&short, &fs::read_to_string(&path).unwrap())
    });
    let faults: Vec<_> = faults.collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_phrase_is_found_with_its_line_and_what_to_write() {
    let faults =
        faults_of_source("a.rs", "/// A lock that\n/// others take is\n/// none.\nfn f() {}\n");
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("a.rs:3: \"is none\": say what"), "{faults:?}");
    let bad = [
        "/// The same, longer.",
        "// Whoever comes.",
        "log(\"{x} is \\\n  no file\");",
        "let a = 1; // It is none.",
        "/// What it is is detected.",
    ];
    for line in bad {
        assert_eq!(faults_of_source("a.rs", line).len(), 1, "{line}");
    }
    let row = [(7, "| a | `--x` stands still |".to_string()), (8, "| b | c |".to_string())];
    let faults: Vec<_> = texts_of_page(&row).iter().flat_map(|text| text.faults("a.md")).collect();
    assert!(faults.len() == 1 && faults[0].starts_with("a.md:7: "), "{faults:?}");
}

#[test]
fn comments_are_checked_more_strictly_than_messages() {
    let bad = ["/// Its end.", "/// Wait for\n/// so many bytes.", "// The guest goes on."];
    for text in bad {
        assert_eq!(faults_of_source("a.rs", text).len(), 1, "{text}");
    }
    let message = "assert_eq!(line, \"the guest goes on\");";
    assert_eq!(faults_of_source("a.rs", message), [""; 0]);
}

#[test]
fn harmless_phrases_are_accepted() {
    let good = [
        "/// There is no file.\n/// It is no longer here.",
        "/// `whoever` in code.",
        "// First line.\n// The same is true here.",
        "if x.is_none() {}",
        "/// The file is.\n///\n/// None of it.",
    ];
    for text in good {
        assert_eq!(faults_of_source("a.rs", text), [""; 0], "{text}");
    }
}
