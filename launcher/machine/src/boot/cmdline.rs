//! The kernel command line: the user's words, and before them the parameters of a quiet, fast
//! start that the user did not give. [`super::load`] builds it.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, ensure};

use super::BootRequest;
use super::layout::COMMAND_LINE;

/// A parameter that lguest adds, unless the user decides otherwise.
struct DefaultParameter {
    parameter: &'static str,
    /// The parameters that replace this one if the user gave them.
    unless: &'static [&'static str],
    /// Whether the parameter is left out when the guest has a serial port (`--earlycon`).
    without_serial: bool,
    /// The verbosity that the parameter sets. `None` if it is for every kernel.
    verbosity: Option<KernelVerbosity>,
}

/// The parameters by which a user decides how much the kernel prints.
const QUIET: &[&str] =
    &["quiet", "loglevel", "debug", "ignore_loglevel", "earlycon", "earlyprintk"];

/// How much the kernel prints on its console, unless the user decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelVerbosity {
    /// The kernel prints errors alone (`quiet`).
    Quiet,
    /// The kernel prints warnings as well: `--strict` examines them.
    Warnings,
    /// The kernel prints everything: `--expect` and `--fail-on` examine it.
    All,
}

/// All default parameters, each with its reason. Some parameters are not here because they are not
/// needed: no_timer_check (Linux sets it on KVM), tsc=reliable (KVM's CPUID has
/// the truth), random.trust_cpu (the default of distribution kernels),
/// rcupdate.rcu_expedited (Linux is in that mode while it boots), i8042.*
/// (ACPI's FADT says that there is no keyboard controller), pci=lastbus (ACPI
/// has the last bus, too).
const DEFAULTS: [DefaultParameter; 5] = [
    // The console on the user's terminal.
    DefaultParameter {
        parameter: "console=hvc0",
        unless: &["console"],
        without_serial: false,
        verbosity: None,
    },
    // Each line of the kernel's log costs time on every console, and hides what
    // the user wants to see.
    DefaultParameter {
        parameter: "quiet",
        unless: QUIET,
        without_serial: true,
        verbosity: Some(KernelVerbosity::Quiet),
    },
    // Up to KERN_WARNING instead: one level more than `quiet` shows.
    DefaultParameter {
        parameter: "loglevel=5",
        unless: QUIET,
        without_serial: true,
        verbosity: Some(KernelVerbosity::Warnings),
    },
    // The machine has no serial port, and probing for four of them takes some 50 exits.
    DefaultParameter {
        parameter: "8250.nr_uarts=0",
        unless: &["8250.nr_uarts", "earlycon", "earlyprintk", "console=ttyS", "console=uart"],
        without_serial: true,
        verbosity: None,
    },
    // Only developers want to test the crypto code at every start.
    DefaultParameter {
        parameter: "cryptomgr.notests",
        unless: &["cryptomgr.notests"],
        without_serial: false,
        verbosity: None,
    },
];

/// The parameter for COM1 as Linux can use it before it has drivers.
const EARLYCON: &str = "earlycon=uart8250,io,0x3f8,115200";

/// Build the command line of a kernel that takes at most `limit` bytes.
///
/// # Errors
/// When the line is longer, or Linux could not parse a word.
pub(super) fn build(request: &BootRequest<'_>, limit: u32) -> Result<CString> {
    let (words, serial) = (request.arguments, request.serial);
    let given: Vec<String> = kernel_words(words).collect();
    let mut line: Vec<Vec<u8>> = DEFAULTS
        .iter()
        .filter(|default| !(serial && default.without_serial))
        .filter(|default| default.verbosity.is_none_or(|verbosity| verbosity == request.verbosity))
        .filter(|default| !default.unless.iter().any(|name| is_given(name, &given)))
        .map(|default| default.parameter.into())
        .collect();
    if serial && !is_given("earlycon", &given) {
        line.push(EARLYCON.into());
    }
    if !is_given("ip", &given) {
        line.extend(request.addresses.iter().map(|word| word.clone().into_bytes()));
        // The addresses are for eth0, and udev would rename it.
        if !request.addresses.is_empty() && !is_given("net.ifnames", &given) {
            line.push("net.ifnames=0".into());
        }
    }
    let more = request.more.iter().filter(|word| {
        let (name, _) = word.split_once('=').unwrap_or((word, ""));
        !is_given(name, &given)
    });
    line.extend(more.map(|word| word.clone().into_bytes()));
    for word in words.iter().filter(|word| !word.is_empty()) {
        line.push(quote(word.as_bytes()).with_context(|| format!("kernel argument {word:?}"))?);
    }
    let line = line.join(&b' ');
    // The kernel's header has its limit, and the area in guest memory has another.
    let space = COMMAND_LINE.end - COMMAND_LINE.start - 1;
    let limit = usize::try_from(u64::from(limit).min(space))?;
    ensure!(
        line.len() <= limit,
        "the kernel command line has {} bytes with what lguest adds, this kernel takes {limit}: \
         shorten it",
        line.len()
    );
    Ok(CString::new(line)?)
}

/// The value that these words give a parameter of this name: the last value, if there are several.
/// `name` has `_` for `-`.
pub fn value_of(name: &str, words: &[OsString]) -> Option<String> {
    let values = kernel_words(words).filter_map(|word| {
        let (parameter, value) = word.split_once('=')?;
        (parameter.replace('-', "_") == name).then(|| value.to_string())
    });
    values.last()
}

/// The kernel's words: those after "--" are for init.
pub fn kernel_words(words: &[OsString]) -> impl Iterator<Item = String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).take_while(|word| word != "--")
}

/// Whether the user gave a parameter. `name` is its name, or the beginning of
/// `name=value`.
fn is_given(name: &str, given: &[String]) -> bool {
    given.iter().any(|word| {
        let (parameter, _) = word.split_once('=').unwrap_or((word, ""));
        // Linux treats - and _ alike.
        parameter.replace('-', "_") == name || (name.contains('=') && word.starts_with(name))
    })
}

/// Quote a word so that Linux reads it as one: blanks between quotes are a part of a word, and no
/// escape exists for a quote (lib/cmdline.c, next_arg).
fn quote(word: &[u8]) -> Result<Vec<u8>> {
    ensure!(!word.contains(&0), "it contains a NUL");
    let quotes = word.iter().filter(|&&byte| byte == b'"').count();
    ensure!(quotes % 2 == 0, "it has a quote without its partner: Linux takes them in pairs");
    if quotes > 0 || !word.iter().any(|&byte| is_blank(byte)) {
        return Ok(word.into());
    }
    let value = word.iter().position(|&byte| byte == b'=').map_or(0, |equals| equals + 1);
    let (name, value) = word.split_at(value);
    Ok([name, b"\"", value, b"\""].concat())
}

/// Whether a byte is a blank for Linux's isspace(). There, 0xa0 is one, as in Latin-1. It is also
/// the second byte of "à" in UTF-8.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b || byte == 0xa0
}
