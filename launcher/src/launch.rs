//! The launch, as a story: look at what the host has, build the guest, give it
//! the terminal, wait for its one end, take everything apart in the reverse
//! order. A guest that reboots goes round once more.

mod ends;
mod junit;
mod outcome;
mod prepare;

use std::env;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use host::descriptors;
use host::inherited::Inherited;
use host::messages;
use host::privilege::Confinement;
use host::progress;
use host::signals::Signals;
use host::terminal::{self, Terminal};
use host::writer::last_words;
use machine::boot;

use crate::config::Config;
use crate::config::console::ConsoleConfig;
use crate::console::{self, Console};
use crate::control::{Control, Machine, Made, Order};
use crate::detach::Parent;
use crate::ending::Ending;
use crate::guest::{self, Guest, Host, kernel};
use crate::runtime::Claim;
use crate::silence;
use crate::trial::{Trial, Verdict};
use ends::{explain, farewell, judge, report_restart, say_what_is_missing, settle};
pub(crate) use junit::Junit;
pub(crate) use outcome::Outcome;
use prepare::{Prepared, prepare};

/// How long the threads of a guest that has ended may take to end, and how long
/// between two looks at those that take longer.
const PATIENCE: Duration = Duration::from_millis(400);

/// What the main thread waits for, beside the guest.
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
        "--tty: stdin is not a terminal: leave --tty out, and the command reads what stdin has"
    );
    // What the user named is named from here.
    let here = env::current_dir().unwrap_or_default();
    let mut claim = Claim::of(config)?;
    let name = claim.as_ref().map(|(claim, _)| claim.name().clone());
    let Prepared { host, job, ends, logs, trace: _trace } =
        prepare(config, &wanted, &confinement, &mut claim, &mut inherited)?;
    let (mut writers, mut entries) = (Vec::new(), Vec::new());
    for (console, end) in host.consoles.iter().zip(ends) {
        let connected = end.connect(console, &host.exit, terminal.as_ref())?;
        writers.extend(connected.writer);
        entries.extend(connected.entry);
    }
    let (trial, log) = Trial::start(logs, config, first_console(&host)?, &host.exit, launched)?;
    writers.extend(log);
    silence::warn(config, &wanted);
    let mut control = claim.map(|claim| start_control(claim, config, &host, &here)).transpose()?;
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
        match settle(outcome, &trial, config.reboots()) {
            Outcome::Ended(Ending::Reset(how)) if config.reboots() => {
                report_restart(&host, how, &mut is_reported);
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
                    None => judge(job.as_ref(), &host.consoles, outcome),
                };
                say_what_is_missing(&host, &trial, &outcome);
                return Ok((outcome, trial.log()));
            }
        }
        host.ram.empty()?;
    }
}

fn first_console(host: &Host) -> Result<&Arc<Console>> {
    host.consoles.first().context("a guest without a console")
}

/// The console that follows this terminal, if there is one.
fn on_terminal(consoles: &[Arc<Console>]) -> Option<&Console> {
    consoles.iter().map(Arc::as_ref).find(|console| console.is_on_terminal())
}

/// Answer on the control socket. The command line was given in directory `here`.
fn start_control(
    (claim, listener): (Claim, UnixListener),
    config: &Config,
    host: &Host,
    here: &Path,
) -> Result<Control> {
    let request = kernel::request(config, &host.files);
    let kernel_words = boot::command_line(&request).unwrap_or_default();
    let interfaces = host.taps.iter().map(|tap| tap.name()).collect();
    let (consoles, paused) = (host.consoles.clone(), Arc::clone(&host.paused));
    let made = Made { kernel_words, interfaces };
    let machine = Machine::new(claim.name(), (config, here), made, consoles, paused);
    Control::start((claim, listener), machine, &host.exit, &host.observers)
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
        if let (Some(now), Some(console)) = (terminal::size(), on_terminal(&host.consoles))
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
            return Outcome::Decided(late(trial, Some(guest), host));
        }
        silence = None;
        silence::hint(&host.consoles, host.files.has_initrd());
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
            outcome = Outcome::Decided(late(trial, None, host));
        }
    }
}

/// Time is up: the verdict.
fn late(trial: &Trial, guest: Option<&Guest>, host: &Host) -> Verdict {
    let no_driver = silence::no_driver(&host.consoles, host.files.has_initrd());
    trial.late(guest, &host.files, no_driver)
}
