//! What a launch makes of a guest's end: what clients are told, what a boot test and `--exec`
//! make of it, and what the host may have to do with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use host::terminal::Terminal;
use host::writer::last_words::{self, Patience};
use machine::end::Crash;

use super::Outcome;
use crate::check::{self, KernelMode};
use crate::console::Console;
use crate::ending::Ending;
use crate::exec::{self, Job};
use crate::guest::Host;
use crate::silence;
use crate::trial::Trial;

/// Let the clients of the guest's consoles read the rest, and the reason of the end. The user's
/// next keys are for the program that has the terminal next.
pub(super) fn farewell(host: &Host, outcome: &Outcome, terminal: Option<&Terminal>) {
    if let Some(terminal) = terminal {
        terminal.read_answers_only();
    }
    let why = outcome.farewell();
    let is_patient = outcome.patience() != Patience::None;
    let patience = if is_patient { last_words::ON_TERMINAL } else { Duration::ZERO };
    let until = Instant::now() + patience;
    for console in &host.consoles {
        console.finish(&why);
    }
    for console in &host.consoles {
        console.wait_for_clients(until);
    }
}

/// Print what the user may have missed: the last lines of a failed guest, and why a guest had
/// no console.
pub(super) fn say_what_is_missing(host: &Host, trial: &Trial, outcome: &Outcome) {
    if outcome.needs_last_lines() {
        trial.say_last_lines();
    }
    if outcome.is_the_guests_own() {
        silence::report(&host.consoles, host.files.has_initrd());
    }
}

/// Log that the guest restarts. If nobody sees its messages, the user is told once: `reported`.
pub(super) fn report_restart(host: &Host, how: &str, reported: &mut bool) {
    log::info!("guest reset by {how}");
    silence::report_restart(&host.consoles, host.files.has_initrd(), reported);
}

/// What a boot test makes of the end.
pub(super) fn settle(outcome: Outcome, trial: &Trial, reboots: bool) -> Outcome {
    let ended = match &outcome {
        Outcome::Ended(ending) => Some(ending),
        Outcome::Decided(_) => None,
    };
    trial.settle(ended, reboots).map_or(outcome, Outcome::Decided)
}

/// What `--exec` makes of the end.
pub(super) fn judge(job: Option<&Job>, consoles: &[Arc<Console>], outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Ended(ending) => {
            let began = consoles.iter().any(|console| console.is_ready());
            Outcome::Ended(exec::judge(job, began, ending))
        }
        Outcome::Decided(_) => outcome,
    }
}

/// When KVM gave up on an instruction it may be the host's fault, and the user
/// wants to know before looking for one in the guest.
pub(super) fn explain(host: &Host, outcome: Outcome) -> Outcome {
    let Outcome::Ended(Ending::Crashed(Crash { text, by_kvm: true })) = outcome else {
        return outcome;
    };
    let hint = match check::kernel_mode(&host.kvm) {
        KernelMode::Native => None,
        KernelMode::Emulated => {
            Some("runs kernel-mode code in an emulator that lacks instructions")
        }
        KernelMode::Fails(_) => Some("cannot run kernel-mode code"),
    };
    let hint = hint.map(|hint| format!("\n  this host's KVM {hint}: see `lguest check`"));
    let text = text + &hint.unwrap_or_default();
    Outcome::Ended(Ending::Crashed(Crash { text, by_kvm: true }))
}
