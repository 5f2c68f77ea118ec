//! The launch, as a story: look at what the host has, build the guest, give it
//! the terminal, wait for its one end, take everything apart in the reverse
//! order. A guest that reboots goes round once more.

mod junit;
mod outcome;
mod prepare;

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::check::{self, KernelMode};
use crate::config::Config;
use crate::config::console::ConsoleConfig;
use crate::console;
use crate::control::{Control, Order};
use crate::descriptors;
use crate::detach::Parent;
use crate::exec;
use crate::exit::{Crash, Ending};
use crate::guest::{self, Guest, Host};
use crate::inherited::Inherited;
use crate::messages;
use crate::privilege::Confinement;
use crate::progress;
use crate::runtime::Claim;
use crate::signals::Signals;
use crate::silence;
use crate::terminal::{self, Terminal};
use crate::trial::{self, Trial};
use crate::writer::last_words::{self, Patience};
pub(crate) use junit::Junit;
pub(crate) use outcome::Outcome;
use prepare::{Prepared, prepare};

/// How long the threads of a guest that has ended may take to end, and how long
/// between two looks at those that take longer.
const PATIENCE: Duration = Duration::from_millis(400);

/// Those whom the main thread waits for, beside the guest.
struct Watch<'a> {
    signals: &'a Signals,
    terminal: Option<&'a Terminal>,
    trial: &'a Trial,
}

/// Launch the guest, and see it through its reboots: how that went, and the last that the guest
/// printed on hvc0. A process that waits for it is told when it runs. What was inherited is
/// closed in time, where it must not stay open.
///
/// # Errors
/// When it cannot be set up; the terminal has not been touched then.
pub(crate) fn launch(
    config: &Config,
    mut parent: Option<Parent>,
    mut inherited: Inherited,
) -> Result<(Outcome, String)> {
    let launched = Instant::now();
    let confinement = Confinement::new(config.chroot.as_deref(), config.username.as_deref())?;
    // Before any thread: signals are blocked in all of them, and the terminal's
    // guard is forked.
    let signals = Signals::block()?;
    let wanted = console::wanted(config)?;
    guest::check_devices(config, wanted.len())?;
    descriptors::raise_limit();
    let uses_stdio = wanted.iter().any(ConsoleConfig::is_stdio) || config.exec.tty;
    let terminal = if uses_stdio { Terminal::on_stdin(&confinement)? } else { None };
    ensure!(
        terminal.is_some() || !config.exec.tty,
        "--tty: stdin is no terminal: leave --tty out, and the command reads what stdin has"
    );
    // What the user named is named from here.
    let here = env::current_dir().unwrap_or_default();
    let mut claim = Claim::of(config)?;
    let name = claim.as_ref().map(|(claim, _)| claim.name().clone());
    let Prepared { host, ends, logs, trace: _trace } =
        prepare(config, &wanted, &confinement, &mut claim, &mut inherited)?;
    let (mut writers, mut entries) = (Vec::new(), Vec::new());
    for (console, end) in host.consoles.iter().zip(ends) {
        let connected = end.connect(console, &host.exit, terminal.as_ref())?;
        writers.extend(connected.writer);
        entries.extend(connected.entry);
    }
    let (trial, log) = Trial::start(logs, config, &host, launched)?;
    writers.extend(log);
    silence::warn(config, &wanted);
    let mut control = claim.map(|claim| Control::start(claim, config, &host, &here)).transpose()?;
    // A boot test needs nobody at the keyboard.
    let mut is_interactive = !config.is_trial();
    let mut is_reported = false;
    loop {
        let mut guest = Guest::build(config, &host)?;
        progress::no_more();
        // Raw as late as can be: nothing that comes now fails for the user's sake.
        enter(terminal.as_ref(), std::mem::take(&mut is_interactive))?;
        guest.start()?;
        if let (Some(parent), Some(name)) = (parent.take(), &name) {
            parent.let_go(name, &mut inherited)?;
        }
        let watch = Watch { signals: &signals, terminal: terminal.as_ref(), trial: &trial };
        let outcome = wait(&watch, &host, &guest, control.as_ref());
        let outcome = stop(guest, outcome, &watch, &host);
        match settle(outcome, &trial, &host, config.reboots()) {
            Outcome::Ended(Ending::Reset(how)) if config.reboots() => {
                log::info!("guest reset by {how}");
                silence::report_restart(&host, &mut is_reported);
            }
            outcome => {
                let outcome = explain(&host, outcome);
                farewell(&host, &outcome, terminal.as_ref());
                // There is no guest any more; its last words may take a while.
                drop((control.take(), entries));
                let patience = outcome.patience();
                let signal = last_words::finish(&writers, &signals, terminal.as_ref(), patience);
                let outcome = match signal {
                    Some(signal) => Outcome::Ended(Ending::Signal(signal)),
                    None => judge(&host, outcome),
                };
                if outcome.needs_last_lines() {
                    trial::say_last_lines(&host);
                }
                if outcome.is_the_guests_own() {
                    silence::report(&host);
                }
                return Ok((outcome, trial::log_of(&host)));
            }
        }
        host.ram.empty()?;
    }
}

/// Take the terminal. In the background that is not possible: the user of a guest that is to
/// be typed at is told why it gets no keys.
///
/// # Errors
/// When the terminal is gone.
pub(crate) fn enter(terminal: Option<&Terminal>, is_interactive: bool) -> Result<()> {
    let is_in_front = terminal.map(Terminal::enter).transpose()?.unwrap_or(true);
    if is_interactive && !is_in_front {
        messages::say(terminal::BACKGROUND);
    }
    Ok(())
}

/// The guest runs; nothing is done here but what the user's side asks for.
fn wait(watch: &Watch<'_>, host: &Host, guest: &Guest, control: Option<&Control>) -> Outcome {
    let Watch { signals, terminal, trial } = *watch;
    let mut silence = silence::patience().map(|patience| Instant::now() + patience);
    let mut size = None;
    let mut look = || {
        // Looked at also after a stop: the background is not told about sizes.
        if let (Some(now), Some(console)) = (terminal::size(), host.on_terminal())
            && size != Some(now)
            && console.follow_terminal(now.0, now.1, size.is_none())
        {
            size = Some(now);
        }
        if let Some(control) = control {
            control.orders().obey(|order| obey(order, guest));
        }
    };
    loop {
        let until = silence.into_iter().chain(trial.until()).min();
        let ending = signals.wait(&host.exit, terminal, until, &mut look);
        if let Some(ending) = ending {
            return Outcome::Ended(ending);
        }
        if trial.is_late() {
            return Outcome::Decided(trial.late(Some(guest), host));
        }
        silence = None;
        silence::hint(host);
    }
}

fn obey(order: Order, guest: &Guest) -> Result<(), String> {
    match order {
        Order::Pause => guest.pause(PATIENCE),
        Order::Resume => guest.resume(PATIENCE),
        Order::PowerOff => {
            messages::say("power button pressed by `lguest stop`");
            guest.press_power_button();
            Ok(())
        }
    }
}

/// Take the guest apart. The host may have a queue thread in a system call that
/// returns for no signal, and that thread has a part of the guest's memory in its
/// hands: a guest that wants to reboot waits for it, the user does not have to.
fn stop(mut guest: Guest, mut outcome: Outcome, watch: &Watch<'_>, host: &Host) -> Outcome {
    let Watch { signals, terminal, trial } = *watch;
    let mut told = false;
    loop {
        let left = guest.stop(PATIENCE);
        if left.is_empty() {
            return outcome;
        }
        let reset = matches!(outcome, Outcome::Ended(Ending::Reset(_)));
        if !told {
            let what = if reset { "waiting for it (three ^C to leave)" } else { "left behind" };
            let left = left.join(", ");
            messages::say(&format!("{left}: in a system call of the host's that hangs: {what}"));
            told = true;
        }
        if !reset {
            // It ends with the process. Nothing may be freed that it still uses.
            Box::leak(Box::new(guest));
            return outcome;
        }
        let until = Some(Instant::now() + PATIENCE);
        let ending = signals.wait(&host.exit, terminal, until, || {});
        outcome = ending.map_or(outcome, Outcome::Ended);
        if trial.is_late() {
            outcome = Outcome::Decided(trial.late(None, host));
        }
    }
}

/// Have those who sit at its consoles read the rest, and hear why there is no more. The user's
/// next keys are for whoever has the terminal next.
fn farewell(host: &Host, outcome: &Outcome, terminal: Option<&Terminal>) {
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

/// What a boot test makes of the end.
fn settle(outcome: Outcome, trial: &Trial, host: &Host, reboots: bool) -> Outcome {
    let ended = match &outcome {
        Outcome::Ended(ending) => Some(ending),
        Outcome::Decided(_) => None,
    };
    trial.settle(host, ended, reboots).map_or(outcome, Outcome::Decided)
}

/// What `--exec` makes of the end.
fn judge(host: &Host, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Ended(ending) => {
            Outcome::Ended(exec::judge(host.job.as_ref(), host.init_has_spoken(), ending))
        }
        Outcome::Decided(_) => outcome,
    }
}

/// When KVM gave up on an instruction it may be the host's fault, and the user
/// wants to know before looking for one in the guest.
fn explain(host: &Host, outcome: Outcome) -> Outcome {
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
