//! What a launch makes of a guest's end: the notice to clients, the results of a boot test and of
//! `--exec`, and the host's possible part in a crash.

use std::sync::Arc;
use std::time::{Duration, Instant};

use host::terminal::Terminal;
use host::writer::last_words::{self, Patience};
use machine::end::Crash;

use super::Outcome;
use crate::boot_test::BootTest;
use crate::check::{self, KernelMode};
use crate::console::GuestConsole;
use crate::ending::Ending;
use crate::exec::{self, ExecJob};
use crate::guest::Host;
use crate::silence;
use crate::snapshot;

/// Let the clients of the guest's consoles read the rest of the output, and the reason of the end.
/// Keys that the user types now are for the next program on the terminal.
pub(super) fn finish_consoles(host: &Host, outcome: &Outcome, terminal: Option<&Terminal>) {
    if let Some(terminal) = terminal {
        terminal.read_answers_only();
    }
    let why = outcome.notice_for_clients();
    let is_patient = outcome.patience() != Patience::None;
    let patience = if is_patient { last_words::ON_TERMINAL } else { Duration::ZERO };
    let until = Instant::now() + patience;
    let is_saved = *outcome == Outcome::Ended(Ending::Saved);
    for console in &host.consoles {
        // What nobody has read is in the snapshot.
        if is_saved {
            console.output.leave_rest();
            console.input.end();
        }
        console.finish(&why);
    }
    snapshot::save::hold(host, false);
    for console in &host.consoles {
        console.wait_for_clients(until);
    }
}

/// Print what the user may have missed: the last lines of a failed guest, and why a guest had
/// no console.
pub(super) fn report_failure(host: &Host, boot_test: &BootTest, outcome: &Outcome) {
    if outcome.needs_last_lines() {
        boot_test.say_last_lines();
    }
    if outcome.ended_by_itself() {
        silence::report(&host.consoles, host.files.has_initrd());
    }
}

/// Log that the guest restarts. If no console shows its messages, the user gets one message:
/// `reported` records that.
pub(super) fn report_restart(host: &Host, how: &str, reported: &mut bool) {
    log::info!("guest reset by {how}");
    silence::report_restart(&host.consoles, host.files.has_initrd(), reported);
}

/// The outcome with the verdict of the boot test, if there is a verdict.
pub(super) fn apply_boot_test(outcome: Outcome, boot_test: &BootTest, reboots: bool) -> Outcome {
    let ended = match &outcome {
        Outcome::Ended(ending) => Some(ending),
        Outcome::Decided(_) => None,
    };
    boot_test.decide(ended, reboots).map_or(outcome, Outcome::Decided)
}

/// The outcome as `--exec` judges it.
pub(super) fn judge(
    job: Option<&ExecJob>,
    consoles: &[Arc<GuestConsole>],
    outcome: Outcome,
) -> Outcome {
    match outcome {
        Outcome::Ended(ending) => {
            let mut links = consoles.iter().filter_map(|console| console.init_link());
            let began = links.any(|link| link.has_greeted());
            Outcome::Ended(exec::judge(job, began, ending))
        }
        Outcome::Decided(_) => outcome,
    }
}

/// Add to a crash that the host's KVM may be the cause. The user wants to know this before looking
/// for a fault in the guest.
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
