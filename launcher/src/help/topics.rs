//! The topics of help: the headings of the definition that each topic has, and a text. An option's
//! topic follows from its heading. A heading that is in no row is a topic of its own.

use clap::{Arg, Command};

use crate::config::{CONFIGURATION, CONSOLES, DISKS, GUESTS, LAUNCH, NETWORK, PRIVILEGE};
use crate::exit_status::ExitStatus;

/// A part of help that fits a screen.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    heading: Option<String>,
    commands: &'static [&'static str],
    text: String,
}

/// A row of the table of topics: name, heading, commands and text.
type TopicRow = (&'static str, &'static str, &'static [&'static str], &'static str);

const TOPICS: &[TopicRow] = &[
    (
        "launch",
        LAUNCH,
        &["check", "unpack"],
        "A guest: its memory, its kernel, and what else the machine has. What is not an option \
         is a word of the kernel command line; words for the guest's init follow -- --.

  lguest 512 vmlinuz --initrd initramfs --cpus 2 loglevel=7",
    ),
    (
        "disks",
        DISKS,
        &[],
        "Disks are raw images and block devices; a file's length is the disk's capacity.

  truncate -s 4G disk.img
  lguest 512 vmlinuz --initrd initramfs --block disk.img --block tools.img,ro

  ro           the guest cannot write to it
  direct       past the host's page cache (O_DIRECT)
  serial=S     its serial number, up to 20 characters
  queues=N     queues, a thread each, 1 to 64; else as suits the guest's CPUs
  sync=off     a flush is answered without being done
  format=raw   the file is a raw image, even if it looks like a qcow2 or vmdk image

Other formats are refused: qemu-img convert -O raw FILE NEW makes a raw image.",
    ),
    (
        "network",
        NETWORK,
        &[],
        "Each card leads to an interface of the host's, a tap: one that lguest makes, and gives \
         an address or puts into a bridge, or one that root has made for you.

  lguest 512 vmlinuz --initrd initramfs --tunnet 192.168.19.1

gives the guest 192.168.19.2, on the kernel's command line.",
    ),
    (
        "consoles",
        CONSOLES,
        &["console", "log", "peek", "send", "resize"],
        "The first is hvc0. What a guest prints is kept for those who come later; it never waits for \
         somebody who is not there. Three ^C within a second end a guest on this terminal.",
    ),
    (
        "guests",
        GUESTS,
        &["list", "info", "stop", "kill", "reset", "pause", "resume"],
        "A guest that runs has a name, by which other commands reach it.

  vm=$(lguest --detach 512 vmlinuz --initrd initramfs)
  lguest stop $vm --grace 10s",
    ),
    (
        "snapshots",
        "Snapshots",
        &["snapshot", "restore"],
        "Save a guest with its memory and its terminals, and start guests from there.

  lguest snapshot $vm booted --stop
  lguest restore booted

A snapshot is never written to: any number of guests can start from one at the same time. Disks \
         are not in it: give them \",cow\".",
    ),
    (
        "exec",
        "One command",
        &["exec"],
        "Run a command in a guest: its output is lguest's, its exit status, too. A parameter of \
         a module is a word for the kernel. With --warm DIR, later runs do not boot.

  lguest 512 vmlinuz --modules modules --load ./hello.ko hello.times=3 --exec dmesg
  lguest 512 vmlinuz --modules modules --warm warm --exec 'uname -r'

lguest exec runs more commands in such a guest while it runs, or in one with --agent.

  lguest exec $vm uname -r",
    ),
    (
        "tests",
        "Boot tests",
        &[],
        "Start a guest, and see whether it prints what it should and nothing that it should not.

  lguest 512 vmlinuz --initrd initramfs --expect 'login: ' --timeout 60s",
    ),
    ("trace", "Seeing it work", &["stats"], "What a guest and its devices are doing."),
    (
        "privilege",
        PRIVILEGE,
        &[],
        "Root is needed to make a tap, and not to run a guest. With --username, root \
         opens what the command line names, and gives up for good before the guest runs: its \
         identity and groups for those of NAME, and all capabilities; with --chroot as well, the \
         file system outside of DIR.

  sudo lguest 512 vmlinuz --tunnet 192.168.19.1 --username nobody --chroot /var/empty",
    ),
    (
        "config",
        CONFIGURATION,
        &[],
        "A file of options (TOML) has a key for each, named as here without --, and memory, \
         kernel and arguments:

  memory = 512
  kernel = \"vmlinuz\"
  initrd = \"initramfs\"
  block = [\"disk.img\", \"tools.img,ro\"]
  no-reboot = true
  arguments = [\"loglevel=7\"]

Names of files count from the directory in which lguest is started. An option of the \
         command line wins over the file's; where there may be several, the file's come first. MEM, \
         KERNEL and KERNEL-ARGUMENTs of the command line take the place of the file's.

  lguest --config guest.toml --cpus 4
  lguest 512 vmlinuz --initrd initramfs --print-config > guest.toml",
    ),
    ("status", "", &[], "The exit status of lguest:"),
];

/// All topics that have something in the definition, in their order.
pub(super) fn all(definition: &Command) -> Vec<Topic> {
    let mut topics: Vec<_> = TOPICS.iter().map(Topic::written).collect();
    for arg in definition.get_arguments() {
        let Some(heading) = arg.get_help_heading() else { continue };
        if topics.iter().all(|topic| topic.heading.as_deref() != Some(heading)) {
            topics.push(Topic::of_heading(heading));
        }
    }
    topics.retain(|topic| topic.name == "status" || topic.has_parts(definition));
    topics
}

/// A line for each exit status.
fn statuses() -> String {
    let line = |(status, text): &(&str, &str)| format!("  {status:<6} {text}");
    ExitStatus::TABLE.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Topic {
    fn written(&(name, heading, commands, text): &TopicRow) -> Self {
        let text = match name {
            "status" => format!("{text}\n\n{}", statuses()),
            _ => text.to_string(),
        };
        let heading = Some(heading).filter(|heading| !heading.is_empty());
        Self { name: name.into(), heading: heading.map(Into::into), commands, text }
    }

    fn of_heading(heading: &str) -> Self {
        let name = heading.to_lowercase().replace(' ', "-");
        let text = format!("{heading}.");
        Self { name, heading: Some(heading.into()), commands: &[], text }
    }

    /// The topic's options. An option without a heading belongs to the topic of launches.
    pub(super) fn options<'a>(&'a self, definition: &'a Command) -> impl Iterator<Item = &'a Arg> {
        definition.get_arguments().filter(|arg| {
            let heading = arg.get_help_heading().unwrap_or(LAUNCH);
            !is_about_help(arg) && self.heading.as_deref() == Some(heading)
        })
    }

    /// The topic's commands.
    pub(super) fn commands<'a>(
        &'a self,
        definition: &'a Command,
    ) -> impl Iterator<Item = &'a Command> {
        let has = |command: &&Command| self.commands.contains(&command.get_name());
        definition.get_subcommands().filter(has)
    }

    /// Whether the topic has an option or a command.
    fn has_parts(&self, definition: &Command) -> bool {
        self.options(definition).next().is_some() || self.commands(definition).next().is_some()
    }

    /// The topic as a command, of which clap makes help.
    pub(super) fn command(&self, definition: &Command) -> Command {
        let mut template = "{about-with-newline}".to_string();
        if self.has_parts(definition) {
            template.push_str("\n{all-args}");
        }
        // The other options are hidden, not left out: an option may conflict with one of them,
        // or need it.
        let own: Vec<_> = self.options(definition).map(Arg::get_id).collect();
        let args = definition.get_arguments().filter(|arg| !is_about_help(arg)).cloned();
        Command::new("lguest")
            .about(self.text.clone())
            .args(args.map(|arg| if own.contains(&arg.get_id()) { arg } else { arg.hide(true) }))
            .groups(definition.get_groups().cloned())
            .subcommands(self.commands(definition).cloned())
            .disable_help_flag(true)
            .disable_version_flag(true)
            .disable_help_subcommand(true)
            .help_template(template)
    }
}

/// Whether clap adds this argument itself.
pub(super) fn is_about_help(arg: &Arg) -> bool {
    ["help", "version"].contains(&arg.get_id().as_str())
}
