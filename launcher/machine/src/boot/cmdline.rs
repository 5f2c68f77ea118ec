//! The kernel command line: what the user said, and before it what a quiet, fast
//! start wants, as far as the user did not speak of it. Built by [`super::load`].

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, ensure};

use super::BootRequest;
use super::layout::COMMAND_LINE;

/// What lguest adds, unless the user decides otherwise.
struct DefaultParameter {
    parameter: &'static str,
    /// Left out if the user gave one of these.
    unless: &'static [&'static str],
    /// Left out when the guest has a serial port (--earlycon).
    without_serial: bool,
    /// Only for a kernel that is to say so much.
    verbosity: Option<KernelVerbosity>,
}

/// Who speaks of one of these decides how much the kernel says.
const QUIET: &[&str] =
    &["quiet", "loglevel", "debug", "ignore_loglevel", "earlycon", "earlyprintk"];

/// How much the kernel prints on its console, unless the user said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelVerbosity {
    /// Errors alone (`quiet`).
    Quiet,
    /// Warnings as well: `--strict` examines them.
    Warnings,
    /// Everything: `--expect` and `--fail-on` examine it.
    All,
}

/// Each with the reason why it is here. Not needed, and therefore not here:
/// no_timer_check (Linux sets it on KVM), tsc=reliable (KVM tells through CPUID
/// what is true), random.trust_cpu (the default of distribution kernels),
/// rcupdate.rcu_expedited (Linux is in that mode while it boots), i8042.*
/// (ACPI's FADT says that there is no keyboard controller), pci=lastbus (ACPI
/// says that, too).
const DEFAULTS: [DefaultParameter; 5] = [
    // The terminal that the user sits at.
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
    // Instead, up to KERN_WARNING: one more than quiet lets through.
    DefaultParameter {
        parameter: "loglevel=5",
        unless: QUIET,
        without_serial: true,
        verbosity: Some(KernelVerbosity::Warnings),
    },
    // There is no serial port: probing for four of them is some 50 exits.
    DefaultParameter {
        parameter: "8250.nr_uarts=0",
        unless: &["8250.nr_uarts", "earlycon", "earlyprintk", "console=ttyS", "console=uart"],
        without_serial: true,
        verbosity: None,
    },
    // Testing the crypto code at every start is a developer's wish.
    DefaultParameter {
        parameter: "cryptomgr.notests",
        unless: &["cryptomgr.notests"],
        without_serial: false,
        verbosity: None,
    },
];

/// COM1 as Linux can use it before it has drivers.
const EARLYCON: &str = "earlycon=uart8250,io,0x3f8,115200";

/// The line for this guest, of at most `limit` bytes.
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
        // These name eth0, and udev would rename it.
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
    // The header's number is the kernel's word, and the room is ours.
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

/// The value that the user gave a parameter of this name, the last if there are several.
pub fn value_of(name: &str, words: &[OsString]) -> Option<String> {
    let values = kernel_words(words).filter_map(|word| {
        let (parameter, value) = word.split_once('=')?;
        (parameter.replace('-', "_") == name).then(|| value.to_string())
    });
    values.last()
}

/// The words that are the kernel's: those after "--" are for init.
pub fn kernel_words(words: &[OsString]) -> impl Iterator<Item = String> {
    words.iter().map(|word| word.to_string_lossy().into_owned()).take_while(|word| word != "--")
}

/// Did the user speak of a parameter? `name` is its name, or the beginning of
/// name=value.
fn is_given(name: &str, given: &[String]) -> bool {
    given.iter().any(|word| {
        let (parameter, _) = word.split_once('=').unwrap_or((word, ""));
        // Linux takes - and _ for the same.
        parameter.replace('-', "_") == name || (name.contains('=') && word.starts_with(name))
    })
}

/// A word as Linux reads it: it takes blanks for part of it between quotes, and
/// knows no way to write a quote (lib/cmdline.c, next_arg).
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

/// As Linux's isspace(), for which 0xa0 is a blank as well: it is in Latin-1,
/// and it is the second byte of "à" in UTF-8.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b || byte == 0xa0
}
