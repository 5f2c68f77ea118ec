//! The commands other than a launch, with their options and arguments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use host::stdin::escape::Escape;
use wire::protocol::ConsoleId;
use wire::{Name, parse_name};

use super::restore::RestoreConfig;
use super::time;

/// The commands other than a launch.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Report what this host offers to guests, and what to do about what is missing
    Check {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write the ELF file inside a compressed kernel to a file
    Unpack {
        /// A kernel, in any form that lguest boots
        #[arg(value_hint = ValueHint::FilePath)]
        kernel: PathBuf,
        /// The ELF file to write
        #[arg(value_hint = ValueHint::FilePath)]
        output: PathBuf,
    },
    /// List your running guests
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show a guest's kernel command line, disks, network cards and consoles
    Info {
        /// The guest's name
        #[arg(value_parser = parse_name)]
        name: Name,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Count what a guest's queues and vCPUs have done so far
    Stats {
        /// The guest's name
        #[arg(value_parser = parse_name)]
        name: Name,
        /// Print rates every second, until ^C or the guest's end
        #[arg(short, long)]
        watch: bool,
        /// Print one JSON object; with --watch, one per line with the counts so far
        #[arg(long)]
        json: bool,
    },
    /// End a guest, as SIGTERM to its launcher does
    Stop {
        #[command(flatten)]
        target: Target,
        /// Press its power button first, and wait this long for it to power off: 5s, 2m or 1h30m.
        /// Returns when the guest has ended
        #[arg(long, value_name = "TIME", value_parser = time::parse)]
        grace: Option<Duration>,
    },
    /// End a guest without waiting for output to be read
    Kill(Target),
    /// Reset a guest
    Reset(Target),
    /// Pause a guest: its vCPUs and devices stop
    Pause(Target),
    /// Resume a paused guest
    Resume(Target),
    /// Save a guest, with its memory and its terminals, to a new directory
    Snapshot {
        /// The guest's name
        #[arg(value_parser = parse_name, required_unless_present = "show")]
        name: Option<Name>,
        /// The directory to make
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        #[arg(required_unless_present = "show")]
        directory: Option<PathBuf>,
        /// End the guest when it is saved
        #[arg(long, conflicts_with = "show")]
        stop: bool,
        /// Print what a snapshot has, instead of making one
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        #[arg(conflicts_with_all = ["name", "directory"])]
        show: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long, requires = "show", conflicts_with_all = ["name", "directory"])]
        json: bool,
        /// Read the whole memory as well, and compare its checksum
        #[arg(long, requires = "show", conflicts_with_all = ["name", "directory"])]
        verify: bool,
    },
    /// Start a guest from a snapshot, where it was when it was saved
    Restore(RestoreConfig),
    /// Attach your terminal to a console of a guest; ^] detaches
    Console {
        #[command(flatten)]
        target: ConsoleTarget,
        /// Watch, without typing
        #[arg(short, long)]
        read_only: bool,
        /// Take the console from the client that types on it
        #[arg(long, conflicts_with = "read_only")]
        force: bool,
        /// The key that detaches, like ^A, or none; pressed twice, it goes to the guest
        #[arg(short, long, value_name = "KEY", value_parser = Escape::parse)]
        #[arg(default_value = "^]")]
        escape: Escape,
        /// Wait for a guest of that name to start
        #[arg(short, long)]
        wait: bool,
        /// Stay when the guest has ended, and wait for the next one of that name
        #[arg(short, long)]
        persist: bool,
    },
    /// Run a command (sh -c) in a guest that was started with --exec or --agent, and end with its
    /// status
    Exec {
        /// The guest's name
        #[arg(value_parser = parse_name)]
        name: Name,
        /// Give the command your terminal; ^] leaves it
        #[arg(short, long)]
        tty: bool,
        /// The key that leaves the command, like ^A, or none; pressed twice, it goes to the command
        #[arg(short, long, value_name = "KEY", value_parser = Escape::parse, requires = "tty")]
        #[arg(default_value = "^]")]
        escape: Escape,
        /// The command; several words are joined with blanks
        #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
        #[arg(allow_hyphen_values = true, value_hint = ValueHint::CommandString)]
        words: Vec<OsString>,
    },
    /// Print the buffered output of a console
    Log {
        #[command(flatten)]
        target: ConsoleTarget,
        /// Print new output as well, until the guest ends
        #[arg(short, long)]
        follow: bool,
    },
    /// Print what no client has read of a console yet, without consuming it
    Peek {
        #[command(flatten)]
        target: ConsoleTarget,
        /// Show typed input that the guest has not read, instead of its output
        #[arg(long)]
        input: bool,
        /// Print at most this many bytes
        #[arg(long, value_name = "BYTES")]
        max: Option<usize>,
        /// Print one JSON object, with the counts: unread and, of output, dropped
        #[arg(long, conflicts_with = "max")]
        json: bool,
    },
    /// Type text on a console; status 75 if the guest has no room for it
    Send {
        #[command(flatten)]
        target: RequiredConsole,
        /// The text, unchanged; "-" reads it from stdin
        text: String,
    },
    /// Set the window size of a console
    Resize {
        #[command(flatten)]
        target: RequiredConsole,
        /// Lines
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        rows: u16,
        /// Characters in a line
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        columns: u16,
    },
    /// Explain a topic, a command or an option
    Help {
        /// A topic that lguest --help names, a command or an option
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
    pub(crate) console: ConsoleId,
}

/// The console that a command is for, which the user must name.
#[derive(Debug, Args)]
pub(crate) struct RequiredConsole {
    /// The guest's name
    #[arg(value_parser = parse_name)]
    pub(crate) name: Name,
    /// The console: N of hvcN, or its name
    #[arg(value_name = "N")]
    pub(crate) console: ConsoleId,
}

/// The guest that a command is for.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The guest's name
    #[arg(value_parser = parse_name)]
    pub(crate) name: Name,
}
