//! What shells complete: clap_complete's scripts, and to each of them what it cannot know,
//! the names of the guests that run, which `lguest list` tells.

use anyhow::Result;
use clap::{Arg, Command};
use clap_complete::Shell;

/// The script.
pub(super) fn script(shell: Shell, definition: &Command) -> Result<String> {
    let mut definition = without_hidden(definition);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition, "lguest", &mut script);
    let script = String::from_utf8(script)?;
    let named = named(&definition);
    Ok(match shell {
        Shell::Bash => script + &bash(&named),
        Shell::Fish => script + &fish(&named),
        Shell::Zsh => zsh(&script),
        _ => script,
    })
}

fn without_hidden(definition: &Command) -> Command {
    let shown = definition.get_subcommands().filter(|command| !command.is_hide_set());
    let shown: Vec<_> = shown.cloned().collect();
    let bare = Command::new("lguest").args(definition.get_arguments().cloned());
    bare.subcommands(shown).version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true)
}

/// The commands whose first word is a guest's name.
fn named(definition: &Command) -> String {
    let takes_name = |command: &&Command| {
        command.get_positionals().next().is_some_and(|arg: &Arg| arg.get_id() == "name")
    };
    let named: Vec<_> =
        definition.get_subcommands().filter(takes_name).map(Command::get_name).collect();
    named.join(" ")
}

/// Asked before clap's function, which would offer files.
fn bash(named: &str) -> String {
    format!(
        r#"
_lguest_guests() {{
    local name rest
    "$1" list 2> /dev/null | {{ read -r rest; while read -r name rest; do echo "$name"; done; }}
}}

_lguest_and_guests() {{
    if [[ $COMP_CWORD -eq 2 && $2 != -* && " {named} " == *" ${{COMP_WORDS[1]}} "* ]]; then
        COMPREPLY=( $(compgen -W "$(_lguest_guests "$1")" -- "$2") )
        return 0
    fi
    _lguest "$@"
}}

complete -F _lguest_and_guests -o bashdefault -o default lguest
"#
    )
}

fn fish(named: &str) -> String {
    format!(
        "\ncomplete -c lguest -n \"__fish_seen_subcommand_from {named}\" -f \
         -a \"(lguest list 2> /dev/null | tail -n +2 | string split -f 1 ' ')\"\n"
    )
}

/// The place of the name is in clap's script, with the function that completes it.
fn zsh(script: &str) -> String {
    let function = "_lguest_guests() {\n    local -a names\n    \
        names=(${${(f)\"$(lguest list 2> /dev/null | tail -n +2)\"}%% *})\n    \
        _describe -t guests guest names\n}\n";
    let mut result = String::new();
    for line in script.lines() {
        let is_name = line.trim_start().starts_with("':name -- ");
        let known = line.replace(":_default'", ":_lguest_guests'");
        result.push_str(if is_name { &known } else { line });
        result.push('\n');
        // After the tag, which is the first line.
        if line.starts_with("autoload ") {
            result.push('\n');
            result.push_str(function);
        }
    }
    result
}
