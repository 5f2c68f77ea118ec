//! What the guest can do: one mode for each kind of test, chosen by the command
//! line, `mode=NAME` or `mode=NAME=VALUE`. Options are words beside it.

use crate::boot_params::{Arguments, BootParams};

mod console;
mod consoles;
mod endings;
mod hostile;
mod memory;

/// What a mode is given.
pub(crate) struct Task<'a> {
    /// What follows `mode=NAME=`, or nothing.
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

/// A mode, by its name. When it returns, the guest powers off.
type Mode = (&'static str, fn(&Task<'_>));

/// All modes. Each says in its own file what it does.
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
];

/// Do what the command line says.
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
