//! The launch: check what the host has, build the guest, give it the terminal, wait for its end,
//! and take everything apart in reverse order. A guest that reboots is built again.

mod commands;
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
use host::privilege::PrivilegeDrop;
use host::progress;
use host::signals::Signals;
use host::terminal::{self, Terminal};
use host::writer::{OutputWriter, last_words};
use machine::boot;
use wire::Name;

use crate::boot_test::{BootTest, Verdict};
use crate::config::Config;
use crate::config::console::ConsoleConfig;
use crate::console::{self, GuestConsole, OpenBackend, OwnedPath};
use crate::control::{Control, GuestCommand, GuestInfo, Resolved};
use crate::detach::WaitingParent;
use crate::ending::Ending;
use crate::exec::ExecJob;
use crate::guest::{self, Guest, Host, kernel};
use crate::runtime::Claim;
use crate::silence;
use crate::snapshot::save::{self, LaunchIdentity};
use crate::snapshot::{GuestOrigin, Snapshot};
use commands::SavingLaunch;
use ends::{apply_boot_test, explain, finish_consoles, judge, report_failure, report_restart};
pub(crate) use junit::Junit;
pub(crate) use outcome::Outcome;
use prepare::{Prepared, Wanted, prepare};

/// How long the threads of a guest that has ended may take to end. Slower threads are asked
/// again after this time.
const PATIENCE: Duration = Duration::from_millis(400);

/// What the main thread waits for, besides the guest.
struct WaitContext<'a> {
    identity: LaunchIdentity<'a>,
    signals: &'a Signals,
    terminal: Option<&'a Terminal>,
    boot_test: &'a BootTest,
}

/// Launch the guest, and start it again when it reboots. Returns the outcome and the end of the
/// guest's output on hvc0. `parent` is a process that waits until the guest runs. Inherited
/// descriptors are closed where they must not stay open. A guest that continues from a snapshot
/// starts as every guest does when it reboots.
///
/// # Errors
/// When the guest cannot be set up. The terminal is untouched then.
pub(crate) fn launch(
    config: &Config,
    mut parent: Option<WaitingParent>,
    mut inherited: Inherited,
    origin: GuestOrigin,
) -> Result<(Outcome, String)> {
    let launched = Instant::now();
    let privileges = PrivilegeDrop::new(config.chroot.as_deref(), config.username.as_deref())?;
    // Before any thread starts: signals are blocked in all of them, and the terminal's guard is
    // forked.
    let signals = Signals::block()?;
    let wanted = console::configured(config)?;
    if let Some(snapshot) = origin.snapshot() {
        snapshot.check_consoles(wanted.len())?;
    }
    guest::check_devices(config, wanted.len())?;
    descriptors::raise_limit();
    let terminal = own_terminal(config, &wanted, &privileges)?;
    // Relative paths of the user count from this directory.
    let here = config.source.directory.clone();
    let here = here.unwrap_or_else(|| env::current_dir().unwrap_or_default());
    let mut claim = Claim::of(config)?;
    let name = claim.as_ref().map(|(claim, _)| claim.name().clone());
    let all = Wanted { config, consoles: &wanted, origin: &origin };
    let Prepared { host, job, backends, test_files, trace: _trace } =
        prepare(all, &privileges, &mut claim, &mut inherited)?;
    let (mut writers, owned_paths) = connect(&host, backends, terminal.as_ref())?;
    let (mut snapshot, new_warm) = origin.into_parts();
    let mut saving = SavingLaunch::start(&host, job, new_warm)?;
    let (boot_test, log) = BootTest::start(test_files, config, hvc0(&host)?, &host.exit, launched)?;
    writers.extend(log);
    silence::warn(config, &wanted);
    let mut control = claim.map(|claim| start_control(claim, config, &host, &here)).transpose()?;
    // A boot test needs no keyboard.
    let (mut is_interactive, mut is_reported) = (!config.is_boot_test(), false);
    let label = name.as_ref().map_or("", Name::as_str);
    let watch = WaitContext {
        identity: LaunchIdentity { config, name: label, here: &here },
        signals: &signals,
        terminal: terminal.as_ref(),
        boot_test: &boot_test,
    };
    loop {
        let (mut guest, is_new) = build(config, &host, snapshot.take())?;
        progress::no_more();
        // The terminal becomes raw as late as possible: from here on, nothing fails because of
        // what the user asked for.
        enter(terminal.as_ref(), std::mem::take(&mut is_interactive))?;
        guest.start()?;
        if let (Some(parent), Some(name)) = (parent.take(), &name) {
            parent.notify_running(name, &mut inherited)?;
        }
        let outcome = wait(&watch, &host, (&guest, is_new), control.as_ref(), &mut saving);
        let outcome = stop(guest, outcome, &watch, &host);
        match apply_boot_test(outcome, &boot_test, config.reboots()) {
            Outcome::Ended(Ending::Reset(how)) if config.reboots() => {
                report_restart(&host, how, &mut is_reported);
            }
            outcome => {
                let outcome = explain(&host, outcome);
                finish_consoles(&host, &outcome, terminal.as_ref());
                // The guest has ended, and the last of its output may take a while.
                drop((control.take(), owned_paths));
                let outcome = finish_output(outcome, &writers, &watch, &host, saving.job());
                return Ok((outcome, boot_test.log()));
            }
        }
        host.ram.empty()?;
        commands::restart(&host)?;
    }
}

/// This terminal, if a console or the command uses it.
fn own_terminal(
    config: &Config,
    wanted: &[ConsoleConfig],
    privileges: &PrivilegeDrop,
) -> Result<Option<Terminal>> {
    let uses_stdio = wanted.iter().any(ConsoleConfig::is_stdio) || config.exec.tty;
    let terminal = if uses_stdio { Terminal::on_stdin(privileges)? } else { None };
    ensure!(
        terminal.is_some() || !config.exec.tty,
        "--tty: stdin is not a terminal: leave --tty out, and the command reads what stdin has"
    );
    Ok(terminal)
}

/// The next guest, and whether it boots instead of continuing from a snapshot.
fn build(config: &Config, host: &Host, snapshot: Option<Box<Snapshot>>) -> Result<(Guest, bool)> {
    match snapshot {
        Some(snapshot) => {
            let guest = Guest::restored(config, host, &snapshot.state.machine)?;
            log::info!("the guest continues from the snapshot");
            Ok((guest, false))
        }
        None => Ok((Guest::build(config, host)?, true)),
    }
}

/// Connect the consoles to their host ends. Returns the writers that the launch waits for at the
/// end, and the names in the file system that it removes.
fn connect(
    host: &Host,
    backends: Vec<OpenBackend>,
    terminal: Option<&Terminal>,
) -> Result<(Vec<OutputWriter>, Vec<OwnedPath>)> {
    let (mut writers, mut owned_paths) = (Vec::new(), Vec::new());
    for (console, backend) in host.consoles.iter().zip(backends) {
        let connected = backend.connect(console, &host.exit, terminal)?;
        writers.extend(connected.writer);
        owned_paths.extend(connected.owned_path);
    }
    Ok((writers, owned_paths))
}

/// Wait until the rest of the output is written. Returns the final outcome.
fn finish_output(
    outcome: Outcome,
    writers: &[OutputWriter],
    watch: &WaitContext<'_>,
    host: &Host,
    job: Option<&ExecJob>,
) -> Outcome {
    let WaitContext { signals, terminal, boot_test, .. } = *watch;
    let outcome = match last_words::finish(writers, signals, terminal, outcome.patience()) {
        Some(signal) => Outcome::Ended(Ending::Signal(signal)),
        None => judge(job, &host.consoles, outcome),
    };
    report_failure(host, boot_test, &outcome);
    outcome
}

fn hvc0(host: &Host) -> Result<&Arc<GuestConsole>> {
    host.consoles.first().context("a guest without a console")
}

/// The console that has the size of this terminal, if there is one.
fn on_terminal(consoles: &[Arc<GuestConsole>]) -> Option<&GuestConsole> {
    consoles.iter().map(Arc::as_ref).find(|console| console.is_on_terminal())
}

/// Start the control socket. The command line was given in directory `here`.
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
    let snapshot_files = commands::snapshot_files(host)?;
    let resolved = Resolved { kernel_words, interfaces };
    let info = GuestInfo::new(claim.name(), (config, here), resolved, consoles, paused);
    Control::start((claim, listener), info, &host.exit, &host.observers, snapshot_files)
}

/// Take the terminal. In the background that is not possible: then the user of an interactive guest
/// gets a message that explains why the guest gets no keys.
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

/// Wait while the guest runs. Only requests from the user's side are handled here.
/// A new guest has not read the size of its window yet.
fn wait(
    watch: &WaitContext<'_>,
    host: &Host,
    (guest, is_new): (&Guest, bool),
    control: Option<&Control>,
    saving: &mut SavingLaunch,
) -> Outcome {
    let WaitContext { signals, terminal, boot_test, .. } = *watch;
    let mut silence = silence::patience().map(|patience| Instant::now() + patience);
    let mut size = None;
    let mut look = || {
        // Checked after a stop as well: a process in the background gets no signal about sizes.
        if let (Some(now), Some(console)) = (terminal::size(), on_terminal(&host.consoles))
            && size != Some(now)
            && console.follow_terminal(now.0, now.1, size.is_none() && is_new)
        {
            size = Some(now);
        }
        saving.save_if_ready(guest, host, watch.identity);
        if let Some(control) = control {
            control.commands().run_pending(|command| carry_out(command, guest, host, watch));
        }
    };
    loop {
        let until = silence.into_iter().chain(boot_test.deadline()).min();
        let ending = signals.wait(&host.exit, terminal, until, &mut look);
        if let Some(ending) = ending {
            return Outcome::Ended(ending);
        }
        if boot_test.has_timed_out() {
            return Outcome::Decided(timeout_verdict(boot_test, Some(guest), host));
        }
        silence = None;
        silence::hint(&host.consoles, host.files.has_initrd());
    }
}

fn carry_out(
    command: GuestCommand,
    guest: &Guest,
    host: &Host,
    watch: &WaitContext<'_>,
) -> Result<(), String> {
    match command {
        GuestCommand::Pause | GuestCommand::Resume | GuestCommand::PowerOff
            if save::is_held(host) =>
        {
            Err("it is saved, and about to be stopped".into())
        }
        GuestCommand::Pause => guest.pause(PATIENCE),
        GuestCommand::Resume => guest.resume(PATIENCE),
        GuestCommand::Save(request, sender) => {
            let saved = save::save(guest, host, watch.identity, &request, PATIENCE);
            // The connection waits for it.
            saved.map(|saved| drop(sender.send(saved))).map_err(|why| format!("{why:#}"))
        }
        GuestCommand::Release { stay_paused } => save::release(guest, host, stay_paused, PATIENCE),
        GuestCommand::PowerOff => {
            messages::say("power button pressed by `lguest stop`");
            guest.press_power_button();
            Ok(())
        }
    }
}

/// Take the guest apart. The host may hold a queue thread in a system call that no signal ends, and
/// this thread may still use guest memory. A guest that reboots has to wait for it; the user does
/// not.
fn stop(mut guest: Guest, mut outcome: Outcome, watch: &WaitContext<'_>, host: &Host) -> Outcome {
    let WaitContext { signals, terminal, boot_test, .. } = *watch;
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
            // The guest ends with the process. Memory that the thread still uses must not be freed.
            Box::leak(Box::new(guest));
            return outcome;
        }
        let until = Some(Instant::now() + PATIENCE);
        let ending = signals.wait(&host.exit, terminal, until, || {});
        outcome = ending.map_or(outcome, Outcome::Ended);
        if boot_test.has_timed_out() {
            outcome = Outcome::Decided(timeout_verdict(boot_test, None, host));
        }
    }
}

/// The verdict on a timeout.
fn timeout_verdict(boot_test: &BootTest, guest: Option<&Guest>, host: &Host) -> Verdict {
    let no_driver = silence::no_driver(&host.consoles, host.files.has_initrd());
    boot_test.timeout_verdict(guest, &host.files, no_driver)
}
