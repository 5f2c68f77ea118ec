//! Refusals in one line.

use std::ffi::OsString;

use super::super::{definition, read};

/// The message for these words.
fn refused(words: &str) -> String {
    let words = ["lguest"].into_iter().chain(words.split_whitespace()).map(OsString::from);
    let refusal = read::read(definition(), words).unwrap_err();
    refusal.line(&definition()).unwrap()
}

#[test]
fn a_refusal_is_one_line_with_advice() {
    for (words, line) in [
        ("", "<MEM> <KERNEL>; it is lguest <MEM> <KERNEL> [KERNEL-ARGUMENT]..."),
        ("512", "were not provided: <KERNEL>; it is lguest <MEM> <KERNEL> [KERNEL-ARGUMENT]..."),
        ("kill", "were not provided: <NAME>; it is lguest kill <NAME>"),
        (
            "512 vmlinuz --consol stdio",
            "unexpected argument '--consol' found; a similar argument exists: '--console'; \
             lguest --help lists the options",
        ),
        ("512 vmlinuz --config", "a value is required for '--config <FILE>' but none was supplied"),
        ("512 vmlinuz --name a --name b", "'--name <NAME>' cannot be used multiple times"),
        ("512 vmlinuz --exec a --detach", "'--exec <CMD>' cannot be used with '--detach'"),
        ("plenty vmlinuz", "'plenty' for '<MEM>': memory is a number of MiB, or like 512M or 2G"),
        ("consol web", "or like 512M or 2G; or is it lguest console?"),
        ("loglevel=7 vmlinuz", "memory is a number of MiB, or like 512M or 2G"),
        ("512 vmlinuz --cpus console", "for '--cpus <N>': invalid digit found in string"),
    ] {
        let said = refused(words);
        assert!(said.ends_with(line), "{words}: {said}");
        assert!(!said.contains('\n') && !said.starts_with("error"), "{words}: {said}");
    }
}

#[test]
fn help_and_version_are_not_refused() {
    for word in ["--help", "--version"] {
        let refusal = read::read(definition(), ["lguest", word].map(OsString::from)).unwrap_err();
        assert!(refusal.line(&definition()).is_err(), "{word}");
    }
}
