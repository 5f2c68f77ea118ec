//! The commands that are not launching a guest, with their options and arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::time;
use crate::stdin::escape::Escape;
use crate::wire::protocol::Which;
use crate::wire::{Name, parse_name};

/// Everything that is not launching a guest.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell what this host offers to guests, and what to do where it lacks something
    Check {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write the kernel inside a bzImage or compressed file, unpacked, to a file
    Unpack {
        /// A kernel, in any form that lguest boots
        #[arg(value_hint = ValueHint::FilePath)]
        kernel: PathBuf,
        /// Where its ELF file goes
        #[arg(value_hint = ValueHint::FilePath)]
        output: PathBuf,
    },
    /// List the guests that run
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Tell what a guest is and has
    Info {
        /// Its name
        #[arg(value_parser = parse_name)]
        name: Name,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Tell what a guest's queues and vCPUs have done so far
    Stats {
        /// Its name
        #[arg(value_parser = parse_name)]
        name: Name,
        /// Tell every second how much a second it is, until ^C or the guest's end
        #[arg(short, long)]
        watch: bool,
        /// Print one JSON object; with --watch one in each line, of the counts so far
        #[arg(long)]
        json: bool,
    },
    /// End a guest, as SIGTERM to its launcher does
    Stop {
        #[command(flatten)]
        target: Target,
        /// Press its power button first, and wait so long for it to switch itself off: 5s, 2m or
        /// 1h30m. Returns when it has ended
        #[arg(long, value_name = "TIME", value_parser = time::parse)]
        grace: Option<Duration>,
    },
    /// End a guest without waiting for anything
    Kill(Target),
    /// Start a guest again, as its own reset does
    Reset(Target),
    /// Pause a guest: its vCPUs and devices stop
    Pause(Target),
    /// Have it go on
    Resume(Target),
    /// Sit down at a console of a guest: its output here, your keys there. ^] leaves
    Console {
        #[command(flatten)]
        target: ConsoleTarget,
        /// Look on
        #[arg(short, long)]
        read_only: bool,
        /// Take the console from the client that types on it
        #[arg(long, conflicts_with = "read_only")]
        force: bool,
        /// The key that leaves, as ^A, or none; pressed twice it is the guest's
        #[arg(short, long, value_name = "KEY", value_parser = Escape::parse)]
        #[arg(default_value = "^]")]
        escape: Escape,
        /// Wait for a guest of that name to start
        #[arg(short, long)]
        wait: bool,
        /// Stay when the guest has ended, and wait for the next of that name
        #[arg(short, long)]
        persist: bool,
    },
    /// Print the last of what a guest has printed on a console, as much as is kept
    Log {
        #[command(flatten)]
        target: ConsoleTarget,
        /// And what it prints from now on, until it ends
        #[arg(short, long)]
        follow: bool,
    },
    /// Print what nobody has read of a console, and leave it unread
    Peek {
        #[command(flatten)]
        target: ConsoleTarget,
        /// What was typed and the guest has not read; else what it has printed
        #[arg(long)]
        input: bool,
        /// Print so many bytes at most
        #[arg(long, value_name = "BYTES")]
        max: Option<usize>,
        /// Print one JSON object, with the counts: unread and, of output, dropped
        #[arg(long, conflicts_with = "max")]
        json: bool,
    },
    /// Type something into a console; status 75 if the guest has no room for it
    Send {
        #[command(flatten)]
        target: CertainConsole,
        /// What to type, as it is; "-" for what comes from stdin
        text: String,
    },
    /// Give a console's window another size
    Resize {
        #[command(flatten)]
        target: CertainConsole,
        /// Lines
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        rows: u16,
        /// Characters in a line
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        columns: u16,
    },
    /// Explain a topic, a command or an option
    Help {
        /// One of those that lguest --help names
        topic: Option<String>,
    },
    /// Print the manual page or the completions of a shell, for an installation
    #[command(hide = true)]
    Generate {
        /// Which of them
        what: Artifact,
    },
}

/// A file that `lguest generate` makes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Artifact {
    /// lguest.1, for man
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// The console that a command is for.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConsoleTarget {
    /// The guest's name
    #[arg(value_parser = parse_name)]
    pub(crate) name: Name,
    /// The console: N of hvcN, or its name
    #[arg(value_name = "N", default_value = "0")]
    pub(crate) console: Which,
}

/// The console that a command is for, which the user must name.
#[derive(Debug, Args)]
pub(crate) struct CertainConsole {
    /// The guest's name
    #[arg(value_parser = parse_name)]
    pub(crate) name: Name,
    /// The console: N of hvcN, or its name
    #[arg(value_name = "N")]
    pub(crate) console: Which,
}

/// The guest that a command is for.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Its name
    #[arg(value_parser = parse_name)]
    pub(crate) name: Name,
}
