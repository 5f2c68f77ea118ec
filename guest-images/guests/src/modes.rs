//! The modes of the guest, one for each kind of test. The command line chooses one with `mode=NAME`
//! or `mode=NAME=VALUE`. Options are other words of the command line.

use crate::boot_params::{Arguments, BootParams};

mod console;
mod consoles;
mod endings;
mod hostile;
mod memory;

/// The arguments of a mode.
pub(crate) struct Task<'a> {
    /// What follows `mode=NAME=`, or the empty string.
    pub(crate) value: &'a str,
    /// The whole command line.
    pub(crate) arguments: Arguments<'a>,
    pub(crate) boot_params: &'a BootParams,
}

impl Task<'_> {
    /// The value as a number.
    pub(crate) fn number<T: core::str::FromStr>(&self) -> T {
        let number = self.value.parse();
        number.unwrap_or_else(|_| fail!("probe: {:?} is not a number, or too large", self.value))
    }
}

/// A mode: its name and its function. The guest powers off when the function returns.
type Mode = (&'static str, fn(&Task<'_>));

/// All modes. Their files describe them.
pub(crate) const MODES: &[Mode] = &[
    ("poweroff", |_| {}),
    ("status", endings::status),
    ("panic", endings::panic),
    ("reset", endings::reset),
    ("crash", endings::crash),
    ("hang", endings::hang),
    ("noconsole", endings::noconsole),
    ("serial", endings::serial),
    ("memory", memory::walk),
    ("console", console::echo),
    ("resets", console::resets),
    ("consoles", consoles::all),
    ("hostile", hostile::attack),
    ("storm", hostile::storm),
    ("race", hostile::race),
    ("breakdowns", hostile::breakdowns),
    ("busless", hostile::busless),
    ("kicks", hostile::kicks),
    ("soak", hostile::soak),
    ("disk", hostile::disk),
];

/// Runs the mode that the command line names.
pub(crate) fn run(arguments: &Arguments<'_>, boot_params: &BootParams) {
    let mode = arguments.value("mode").unwrap_or("");
    let (name, value) = mode.split_once('=').unwrap_or((mode, ""));
    let Some((_, run)) = MODES.iter().find(|(known, _)| *known == name) else {
        report!("probe: no mode {name:?}; there are");
        MODES.iter().for_each(|(name, _)| report!("  mode={name}"));
        crate::ports::exit(crate::ports::EXIT_FAILED)
    };
    run(&Task { value, arguments: *arguments, boot_params });
}
