//! lguest(1): clap_mangen's page of the definition, with the commands and their options in the same
//! page, and with sections that clap does not know: exit statuses, files, examples.

use std::io::Write;

use anyhow::Result;
use clap::{Arg, Command};
use clap_mangen::Man;
use roff::{Inline, Roff, bold, italic, roman};

use crate::exit_status::ExitStatus;

/// The page, in troff.
pub(super) fn page(definition: &Command) -> Result<String> {
    let mut definition = definition.clone().disable_help_subcommand(true);
    definition.build();
    let version = format!("lguest {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(definition.clone()).title("LGUEST").source(version).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis(&mut page)?;
    description(&mut page)?;
    man.render_options_section(&mut page)?;
    commands(&definition, &mut page)?;
    statuses(&mut page)?;
    files(&mut page)?;
    examples(&mut page)?;
    Ok(String::from_utf8(page)?)
}

fn write(roff: &Roff, page: &mut impl Write) -> Result<()> {
    Ok(page.write_all(roff.render().as_bytes())?)
}

fn synopsis(page: &mut impl Write) -> Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    let words = [
        italic("MEM"),
        roman(" "),
        italic("KERNEL"),
        roman(" ["),
        italic("KERNEL-ARGUMENT"),
        roman("]..."),
    ];
    roff.text([vec![bold("lguest"), roman(" [OPTIONS] ")], words.to_vec()].concat());
    roff.control("br", []);
    roff.text([bold("lguest"), roman(" "), italic("COMMAND"), roman(" ...")]);
    write(&roff, page)
}

fn description(page: &mut impl Write) -> Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(
        "Puts a Linux guest on your terminal, by KVM. MEM is in MiB, or like 512M or 2G; KERNEL is a \
         bzImage or an ELF vmlinux, either of them also compressed. Options may follow the kernel; \
         what is not an option is a word of the kernel command line. Words for the guest's init \
         follow -- --.",
    )]);
    roff.control("PP", []);
    roff.text([roman(
        "The guest has the terminal, raw. Three ^C within a second, each pressed by itself, end it. \
         When it ends, the terminal is given back as it was.",
    )]);
    roff.control("PP", []);
    roff.text([
        bold("lguest help"),
        roman(" "),
        italic("TOPIC"),
        roman(" explains the options with examples, a screen for each topic."),
    ]);
    write(&roff, page)
}

fn commands(definition: &Command, page: &mut impl Write) -> Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for command in definition.get_subcommands().filter(|command| !command.is_hide_set()) {
        let mut line = vec![bold(format!("lguest {}", command.get_name()))];
        let options: Vec<_> = command.get_arguments().filter(|arg| is_its_own(arg)).collect();
        if !options.is_empty() {
            line.push(roman(" [OPTIONS]"));
        }
        for arg in command.get_positionals() {
            line.push(roman(if arg.is_required_set() { " " } else { " [" }));
            line.push(italic(value(arg)));
            line.push(roman(if arg.is_required_set() { "" } else { "]" }));
        }
        roff.control("TP", []);
        roff.text(line);
        roff.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
        roff.control("RS", []);
        for arg in command.get_positionals().chain(options) {
            roff.control("TP", []);
            roff.text(argument(arg));
            roff.text([roman(arg.get_help().map(ToString::to_string).unwrap_or_default())]);
        }
        roff.control("RE", []);
    }
    write(&roff, page)
}

/// Whether an option belongs to a command itself. --help does not: every command has it.
fn is_its_own(arg: &Arg) -> bool {
    !arg.is_positional() && arg.get_id() != "help"
}

fn value(arg: &Arg) -> String {
    arg.get_value_names().into_iter().flatten().map(ToString::to_string).collect()
}

fn argument(arg: &Arg) -> Vec<Inline> {
    let mut line = Vec::new();
    if let Some(short) = arg.get_short() {
        line.extend([bold(format!("-{short}")), roman(", ")]);
    }
    if let Some(long) = arg.get_long() {
        line.push(bold(format!("--{long}")));
    }
    if arg.get_action().takes_values() {
        line.extend([roman(if arg.is_positional() { "" } else { " " }), italic(value(arg))]);
    }
    line
}

fn statuses(page: &mut impl Write) -> Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    entries(&mut roff, ExitStatus::TABLE);
    write(&roff, page)
}

fn files(page: &mut impl Write) -> Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["FILES"]);
    entries(
        &mut roff,
        &[
            (
                "$XDG_RUNTIME_DIR/lguest/NAME, or /run/lguest/NAME",
                "the directory of a guest that runs, with its control socket; root's without the \
                 variable is the second one",
            ),
            ("/dev/kvm", "must be readable and writable: lguest check tells"),
            ("/dev/net/tun", "for --tunnet"),
        ],
    );
    write(&roff, page)
}

fn examples(page: &mut impl Write) -> Result<()> {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (about, line) in [
        ("A shell in a guest:", "lguest 512 vmlinuz --initrd initramfs"),
        (
            "With a disk and a network:",
            "lguest 1G vmlinuz --block disk.img --tunnet 192.168.19.1 root=/dev/vda",
        ),
        (
            "By itself, and ended:",
            "vm=$(lguest --detach 512 vmlinuz --initrd initramfs); lguest stop $vm",
        ),
        (
            "From a file:",
            "lguest 512 vmlinuz --initrd initramfs --print-config > guest.toml; lguest --config guest.toml",
        ),
    ] {
        roff.control("PP", []);
        roff.text([roman(about)]);
        roff.control("PP", []);
        roff.control("RS", ["4"]);
        roff.text([bold(line)]);
        roff.control("RE", []);
    }
    write(&roff, page)
}

fn entries(roff: &mut Roff, entries: &[(&str, &str)]) {
    for (name, text) in entries {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*text)]);
    }
}
