//! The README has every option and every command, and no others.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory};

use super::CommandLine;

const README: &str = include_str!("../../../README.md");

/// The options of a command, as the user types them.
fn options(command: &Command) -> impl Iterator<Item = String> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    shown.filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
}

/// The words of a text that begin with two dashes.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let end = |it: char| !it.is_ascii_lowercase() && it != '-';
    text.match_indices("--").filter_map(move |(at, _)| text[at..].split(end).next())
}

fn rows() -> impl Iterator<Item = &'static str> {
    README.lines().filter(|line| line.starts_with("| `"))
}

#[test]
fn every_option_is_in_the_readme() {
    let first = |row: &'static str| row.split(" | ").next().unwrap();
    let named: BTreeSet<_> = rows().flat_map(|row| words(first(row))).collect();
    for option in options(&CommandLine::command()) {
        assert!(named.contains(option.as_str()), "no table of README.md has a row for {option}");
    }
}

#[test]
fn every_command_and_its_options_are_in_the_readme() {
    let all: BTreeSet<_> = words(README).collect();
    for command in CommandLine::command().get_subcommands().filter(|it| !it.is_hide_set()) {
        let name = command.get_name();
        let known =
            README.contains(&format!("`lguest {name}")) || README.contains(&format!(" `{name} "));
        assert!(known, "README.md does not have lguest {name}");
        for option in options(command) {
            let known = all.contains(option.as_str());
            assert!(known, "README.md does not have {option} of lguest {name}");
        }
    }
}

#[test]
fn every_option_in_the_tables_of_the_readme_exists() {
    let command = CommandLine::command();
    let mut known: BTreeSet<_> = options(&command).collect();
    known.extend(command.get_subcommands().flat_map(options));
    known.extend(["--help", "--version"].map(String::from));
    for row in rows() {
        for word in words(row) {
            assert!(known.contains(word), "there is no {word}: {row}");
        }
    }
}
