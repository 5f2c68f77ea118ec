//! Completions for shells: clap_complete's scripts, with the names of running guests added. `lguest
//! list` prints these names.

use anyhow::Result;
use clap::{Arg, Command, Id};
use clap_complete::Shell;

/// The completion script for a shell.
pub(super) fn script(shell: Shell, definition: &Command) -> Result<String> {
    let mut definition = shown(definition, shell);
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

/// The definition without hidden commands. For zsh it has no positional words either: zsh would
/// expect another command after all of them.
fn shown(definition: &Command, shell: Shell) -> Command {
    let shown = definition.get_subcommands().filter(|command| !command.is_hide_set());
    let shown: Vec<_> = shown.cloned().collect();
    let args = definition.get_arguments().filter(|arg| shell != Shell::Zsh || !arg.is_positional());
    let args: Vec<_> = args.cloned().collect();
    let has = |id: &Id| args.iter().any(|arg| arg.get_id() == id);
    let groups = definition.get_groups().filter(|group| group.get_args().all(has));
    let groups: Vec<_> = groups.cloned().collect();
    let bare = Command::new("lguest").args(args).groups(groups);
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

/// The addition for bash: a function that runs before clap's, which would offer files.
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

/// The script for zsh. clap's script has the place of a guest's name. It lacks a launch, where the
/// first word is MEM instead of a command, followed by files and options.
fn zsh(script: &str) -> String {
    let top = "_arguments \"${_arguments_options[@]}\" : \\\n";
    let (_, options) = script.split_once(top).unwrap_or_default();
    let (options, _) = options.split_once("\":: :_lguest_commands\"").unwrap_or_default();
    let launch = format!("([0-9]*)\n{top}{options}'*:KERNEL:_files' \\\n&& ret=0\n;;\n");
    let mut result = String::new();
    for line in script.lines() {
        let is_name = line.trim_start().starts_with("':name -- ");
        let known = line.replace(":_default'", ":_lguest_guests'");
        result.push_str(if is_name { &known } else { line });
        result.push('\n');
        // The tag is the first line; the functions come after it.
        if line.starts_with("autoload ") {
            result.push_str(ZSH_GUESTS);
        } else if line.trim_start() == "case $line[1] in" {
            result.push_str(&launch);
        }
    }
    result
}

const ZSH_GUESTS: &str = r#"
_lguest_guests() {
    local -a names
    names=(${${(f)"$(lguest list 2> /dev/null | tail -n +2)"}%% *})
    _describe -t guests guest names
}
"#;
