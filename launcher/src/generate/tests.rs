use clap::{Arg, Command};

use super::*;

/// Every option of every command that is not hidden, as the user types it.
fn typed(command: &Command) -> Vec<String> {
    let longs = command.get_arguments().filter_map(Arg::get_long);
    let own = longs.map(|long| format!("--{long}"));
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    own.chain(commands.flat_map(typed)).collect()
}

#[test]
fn every_option_and_command_is_in_every_file() {
    let definition = help::definition();
    let typed = typed(&definition);
    assert!(typed.contains(&"--block".into()) && typed.contains(&"--grace".into()));
    for what in [Artifact::Man, Artifact::Bash, Artifact::Zsh, Artifact::Fish] {
        let file = generate(what).unwrap().replace("\\-", "-");
        for option in &typed {
            // fish has options without their dashes.
            let word = if matches!(what, Artifact::Fish) {
                format!("-l {}", &option[2..])
            } else {
                option.clone()
            };
            assert!(file.contains(&word), "{what:?} lacks {option}");
        }
        for command in definition.get_subcommands() {
            let name = command.get_name();
            let word = match what {
                Artifact::Man => format!("fBlguest {name}"),
                Artifact::Bash => format!(" {name} "),
                Artifact::Zsh => format!("'{name}:"),
                Artifact::Fish => format!("-a \"{name}\""),
            };
            let shown = name != "help" && !command.is_hide_set();
            assert!(name == "help" || file.contains(&word) == shown, "{what:?}: {name}");
        }
    }
}

#[test]
fn the_manual_has_statuses_files_and_examples() {
    let page = generate(Artifact::Man).unwrap();
    for words in [".SH \"EXIT STATUS\"", "\\fB102\\fR", ".SH FILES", ".SH EXAMPLES", ".SH DISKS"] {
        assert!(page.contains(words), "{words}");
    }
}
