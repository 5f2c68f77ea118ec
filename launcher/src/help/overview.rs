//! `lguest --help`: a screen of 24 lines of 80 characters, with the options that are used most and
//! with the way to the rest.

use std::fmt::Write;

use clap::builder::StyledStr;
use clap::{Arg, Command};

use super::topics;

/// The options that the screen shows, each with a text for its line. `lguest help TOPIC` has the
/// whole help of an option.
const OFTEN: [(&str, &str); 9] = [
    ("initrd", "initial file system"),
    ("cpus", "number of virtual CPUs, 1 to 64"),
    ("block", "a disk: a raw image or a block device"),
    ("tunnet", "a network card"),
    ("console", "a console; this terminal is the default"),
    ("exec", "run a command, and end with its status"),
    ("expect", "end with success when the guest prints this"),
    ("detach", "leave the guest in the background"),
    ("config", "read options from a TOML file"),
];

/// The longest line, in characters.
const WIDTH: usize = 80;

/// The screen.
pub(crate) fn overview(definition: &Command) -> StyledStr {
    let (header, name) =
        (definition.get_styles().get_header(), definition.get_styles().get_literal());
    let usage = definition.get_styles().get_usage();
    let mut text = String::new();
    let about = definition.get_about().map(ToString::to_string).unwrap_or_default();
    // None of these can fail: a String grows.
    let _ = writeln!(
        text,
        "{about}\n\n{usage}Usage:{usage:#} {name}lguest{name:#} [OPTIONS] MEM KERNEL [KERNEL-ARGUMENT]...\n\
        \x20      {name}lguest{name:#} COMMAND ...\n\n  lguest 512 vmlinuz --initrd initramfs\n\n\
        {header}Often used:{header:#}"
    );
    for (long, help) in OFTEN {
        let value = find(definition, long).map(value).unwrap_or_default();
        let room = 26_usize.saturating_sub(long.len());
        let _ = writeln!(text, "  {name}--{long}{name:#}{value:room$} {help}");
    }
    let topics = topics::all(definition);
    let topics: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let commands = definition.get_subcommands().filter(|command| !command.is_hide_set());
    let commands: Vec<_> = commands.map(Command::get_name).collect();
    let _ = write!(
        text,
        "\n{header}All options, by topic:{header:#} {name}lguest help{name:#} TOPIC\n{}\
        {header}Commands:{header:#} {name}lguest{name:#} COMMAND {name}--help{name:#}\n{}",
        paragraph(&topics),
        paragraph(&commands)
    );
    text.into()
}

fn find<'a>(definition: &'a Command, long: &str) -> Option<&'a Arg> {
    definition.get_arguments().find(|arg| arg.get_long() == Some(long))
}

fn value(arg: &Arg) -> String {
    let name = arg.get_value_names().into_iter().flatten().next();
    let takes = arg.get_action().takes_values();
    name.filter(|_| takes).map_or_else(String::new, |name| format!(" {name}"))
}

fn paragraph(words: &[&str]) -> String {
    let (mut text, mut line) = (String::new(), String::new());
    for word in words {
        if line.len() + word.len() + 3 > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line.clear();
        }
        line.push_str(if line.is_empty() { "  " } else { " " });
        line.push_str(word);
    }
    text + &line + "\n"
}
