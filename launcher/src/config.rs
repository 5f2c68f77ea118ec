//! The command line, read into a plain struct without I/O. [`crate::launch`] opens the files and
//! devices that the values name.

pub(crate) mod arg_values;
mod block;
mod boot_test;
mod command;
pub(crate) mod console;
pub(crate) mod exec;
mod nearest;
pub(crate) mod read;
#[cfg(test)]
mod readme;
pub(crate) mod refusal;
pub(crate) mod restore;
mod source;
mod time;
mod toml;
pub(crate) mod trace;
pub(crate) mod tunnet;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, ValueHint};
use host::disk::BlockConfig;
use host::net::card::Tunnet;
use machine::cpuid::{Features, feature};
use wire::{Name, parse_name};

pub(crate) use boot_test::BootTestConfig;
pub(crate) use command::{Artifact, Command, ConsoleTarget, RequiredConsole};
use console::ConsoleConfig;
use exec::ExecConfig;
pub(crate) use nearest::nearest;
use source::SourceConfig;
use trace::TraceConfig;

/// The headings of the options in help. Each heading belongs to a topic of [`mod@crate::help`].
pub(crate) const LAUNCH: &str = "Launch";
pub(crate) const DISKS: &str = "Disks";
pub(crate) const NETWORK: &str = "Network";
pub(crate) const CONSOLES: &str = "Consoles";
pub(crate) const PRIVILEGE: &str = "Privilege";
pub(crate) const GUESTS: &str = "Guests that run";
pub(crate) const CONFIGURATION: &str = "Configuration";

/// Puts a Linux guest on your terminal.
#[derive(Debug, Parser)]
#[command(name = "lguest", version = env!("LGUEST_VERSION"))]
#[command(args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true, disable_help_subcommand = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) launch: Option<Config>,
}

/// A guest, as the user described it.
// clap does not see positional arguments in a flattened struct: this declares that there are some.
#[derive(Debug, Clone, Args)]
#[group(arg = "memory")]
pub(crate) struct Config {
    /// Guest memory: MiB, or with a suffix (512M, 2G)
    #[arg(value_name = "MEM", value_parser = parse_memory)]
    pub(crate) memory: u64,

    /// The kernel: bzImage, ELF vmlinux, or either one compressed
    #[arg(value_name = "KERNEL", value_hint = ValueHint::FilePath)]
    pub(crate) kernel: PathBuf,

    /// Words of the kernel command line
    #[arg(value_name = "KERNEL-ARGUMENT")]
    pub(crate) arguments: Vec<OsString>,

    /// Initial file system; several are concatenated
    #[arg(long, value_name = "FILE", help_heading = LAUNCH, value_hint = ValueHint::FilePath)]
    pub(crate) initrd: Vec<PathBuf>,

    /// Number of virtual CPUs, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = LAUNCH)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) cpus: u8,

    /// CPU features that a guest has only on request: nested (virtualization), pmu (performance
    /// counters)
    #[arg(long, value_name = "FEATURE,...", value_parser = feature::parse, help_heading = LAUNCH)]
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) cpu: Option<Features>,

    /// A disk: a raw image or block device, the first is vda. OPTION: ro, cow (FILE does not
    /// change), cow=PRIVATE (what the guest writes is kept in PRIVATE), direct, serial=S, queues=N,
    /// sync=off, format=raw
    #[arg(long, value_name = "FILE[,OPTION]...", help_heading = DISKS)]
    #[arg(value_hint = ValueHint::FilePath)]
    #[arg(value_parser = OsStringValueParser::new().try_map(|value| block::parse(&value)))]
    pub(crate) block: Vec<BlockConfig>,

    /// Network cards.
    #[arg(long, value_name = "HOST-END", value_parser = tunnet::parse, help_heading = NETWORK)]
    #[arg(value_hint = ValueHint::Other)]
    #[arg(help = "A network card: IP[/LEN][:MAC], bridge:NAME[:MAC] or tap:NAME[:MAC], and \
        \",queues=N\"")]
    pub(crate) tunnet: Vec<Tunnet>,

    /// Consoles, hvc0 first.
    #[arg(long, value_name = "HOST-END", help_heading = CONSOLES, value_hint = ValueHint::Other)]
    #[arg(help = "A console, hvc0 first: stdio (the default), sock[=PATH], \
        pty[=LINK], file=PATH[,append] or null; and \",buffer=SIZE\", \",name=NAME\"")]
    #[arg(value_parser = OsStringValueParser::new().try_map(|value| console::parse(&value)))]
    pub(crate) console: Vec<ConsoleConfig>,

    /// A random number generator; it reads the host's, or a file or device (--rng=/dev/hwrng)
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "/dev/urandom", help_heading = LAUNCH)]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) rng: Option<PathBuf>,

    /// Become this user before the guest runs; for root
    #[arg(long, value_name = "NAME", help_heading = PRIVILEGE, value_hint = ValueHint::Username)]
    pub(crate) username: Option<String>,

    /// Change the root directory to DIR before the guest runs; needs --username
    #[arg(long, value_name = "DIR", help_heading = PRIVILEGE, value_hint = ValueHint::DirPath)]
    pub(crate) chroot: Option<PathBuf>,

    /// The guest's name for other commands; without it, lguest chooses one
    #[arg(long, value_name = "NAME", value_parser = parse_name, help_heading = GUESTS)]
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) name: Option<Name>,

    /// Print the guest's name once it runs, and leave it in the background with its consoles
    #[arg(long, help_heading = GUESTS)]
    pub(crate) detach: bool,

    /// End when the guest reboots instead of starting it again
    #[arg(long, help_heading = LAUNCH)]
    pub(crate) no_reboot: bool,

    /// Give the guest a serial port (COM1) for messages before its console driver runs
    #[arg(long, help_heading = LAUNCH)]
    pub(crate) earlycon: bool,

    /// Log each step to stderr, and each client that comes to a console or leaves it
    #[arg(short, long, help_heading = LAUNCH)]
    pub(crate) verbose: bool,

    #[command(flatten)]
    pub(crate) trace: TraceConfig,

    #[command(flatten)]
    pub(crate) boot_test: BootTestConfig,

    #[command(flatten)]
    pub(crate) exec: ExecConfig,

    #[command(flatten)]
    pub(crate) source: SourceConfig,
}

impl Config {
    /// Whether the launcher starts the guest again when it reboots.
    pub(crate) fn reboots(&self) -> bool {
        !self.no_reboot && self.exec.command.is_none()
    }

    /// Whether a boot test examines what the kernel prints on hvc0 ([`crate::boot_test`]). A
    /// command has one, too: it has not succeeded if the kernel failed under it.
    pub(crate) fn is_boot_test(&self) -> bool {
        self.boot_test.is_wanted() || self.exec.command.is_some()
    }

    /// Whether another reader than the backend reads hvc0.
    pub(crate) fn reads_console(&self) -> bool {
        self.is_boot_test() || self.boot_test.log.is_some()
    }
}

/// The definition of the command line for clap. [`help::definition`](crate::help::definition) adds
/// the help.
pub(crate) fn definition() -> clap::Command {
    CommandLine::command()
}

/// Split a value at single commas. Two commas are one literal comma.
fn split(value: &[u8]) -> Vec<Vec<u8>> {
    let (mut words, mut word) = (Vec::new(), Vec::new());
    let mut bytes = value.iter().peekable();
    while let Some(&byte) = bytes.next() {
        if byte != b',' || bytes.next_if_eq(&&b',').is_some() {
            word.push(byte);
        } else {
            words.push(std::mem::take(&mut word));
        }
    }
    words.push(word);
    words
}

/// Parse a size of memory, such as "512" (MiB), "512M" or "2G", into bytes.
fn parse_memory(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (text.trim_end_matches(['k', 'K']), 10),
        Some(b'm' | b'M') => (text.trim_end_matches(['m', 'M']), 20),
        Some(b'g' | b'G') => (text.trim_end_matches(['g', 'G']), 30),
        _ => (text, 20),
    };
    let number: u64 =
        digits.parse().map_err(|_| "memory is a number of MiB, or like 512M or 2G".to_string())?;
    let bytes = number.checked_mul(1 << shift).ok_or("that is more than any host has")?;
    machine::memory::check_size(bytes).map_err(|e| e.to_string())?;
    if bytes % (1 << 20) == 0 { Ok(bytes) } else { Err("memory comes in whole MiB".into()) }
}

#[cfg(test)]
impl Config {
    /// The configuration of `lguest 512 vmlinuz` with these words.
    pub(crate) fn of(words: &[&str]) -> Self {
        let words = [&["lguest", "512", "vmlinuz"], words].concat();
        CommandLine::try_parse_from(words).unwrap().launch.unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(words: &[&str]) -> Config {
        CommandLine::try_parse_from(words).unwrap().launch.unwrap()
    }

    #[test]
    fn options_may_follow_the_kernel() {
        let config = launch(&["lguest", "512", "vmlinuz", "--initrd", "i", "root=/dev/vda", "-v"]);
        assert_eq!(config.memory, 512 << 20);
        assert_eq!(config.arguments, ["root=/dev/vda"]);
        assert!(config.verbose);
    }

    #[test]
    fn options_that_examine_the_console_differ_from_those_that_log_it() {
        let with = |options: &[&str]| {
            let config = Config::of(options);
            (config.is_boot_test(), config.reads_console())
        };
        assert_eq!(with(&[]), (false, false));
        assert_eq!(with(&["--timeout=5"]), (false, false));
        assert_eq!(with(&["--log=log"]), (false, true));
        for option in ["--strict", "--junit=xml", "--expect=x", "--fail-on=x", "--exec=true"] {
            assert_eq!(with(&[option]), (true, true), "{option}");
        }
    }

    #[test]
    fn a_kernel_argument_may_be_named_like_a_subcommand() {
        assert_eq!(launch(&["lguest", "512", "vmlinuz", "check"]).arguments, ["check"]);
    }

    #[test]
    fn disks_keep_their_order() {
        let config = launch(&["lguest", "512", "--block=a", "vmlinuz", "--block", "b,ro"]);
        let disks: Vec<_> = config.block.iter().map(|disk| (&disk.path, disk.read_only)).collect();
        assert_eq!(disks, [(&"a".into(), false), (&"b".into(), true)]);
    }

    #[test]
    fn random_numbers_come_from_the_host_or_a_file() {
        assert_eq!(launch(&["lguest", "512", "vmlinuz"]).rng, None);
        // The next word is not the file, which needs an equals sign.
        let config = launch(&["lguest", "512", "--rng", "vmlinuz"]);
        assert_eq!((config.rng, config.kernel), (Some("/dev/urandom".into()), "vmlinuz".into()));
        let config = launch(&["lguest", "512", "vmlinuz", "--rng=/dev/hwrng"]);
        assert_eq!(config.rng, Some("/dev/hwrng".into()));
    }

    #[test]
    fn memory_takes_suffixes() {
        assert_eq!(parse_memory("512"), Ok(512 << 20));
        assert_eq!(parse_memory("2G"), Ok(2 << 30));
        assert!(parse_memory("lots").is_err());
        assert!(parse_memory("1M").is_err());
        assert!(parse_memory("99999999999G").is_err());
    }
}
