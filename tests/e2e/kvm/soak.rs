//! `make soak`: guests whose devices are busy and reset all the time
//! (guest-images/guests/src/modes/hostile/soak.rs). The test pauses, resets, resizes, reads and
//! types at random, pulls the network cable, stops the launcher, and finally ends it. It compares
//! each launcher twice under load: the launcher must not hold more than at first. SOAK_MINUTES is the
//! duration; SOAK_SEED repeats a run.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::files::Scratch;
use tests::{Chance, End, Flood, Held, Network, Running, environment, patience, until, within};

use super::hostile;

/// The number of actions on one launcher before it is ended.
const ACTIONS: u64 = 60;

/// How much the launcher's private memory may grow, in KiB: the buffer of a console, and what
/// clients and threads leave in the allocator.
const MOST_GROWTH: u64 = 4 * 1024;

/// The most lines on stderr, not counting those about resets.
const MOST_LINES: usize = 20;

type Action = fn(&mut Soak<'_>);

/// The actions of the host. Each returns when it is done.
const ALL: [(&str, Action); 8] = [
    ("pause", pause),
    ("reset", |soak| soak.tell(&["reset", "guest"])),
    ("resize", resize),
    ("type", type_words),
    ("look", look),
    ("attach", attach),
    ("stop the launcher", stop),
    ("pull the cable", pull),
];

/// The ways to end a launcher.
const ENDS: [(&str, Action, End); 4] = [
    ("stop", |soak| soak.tell(&["stop", "guest"]), End::Status(0)),
    ("kill", |soak| soak.tell(&["kill", "guest"]), End::Status(137)),
    ("SIGTERM", |soak| soak.running.process().signal(Signal::SIGTERM), End::Status(143)),
    ("SIGKILL", |soak| soak.running.process().signal(Signal::SIGKILL), End::Killed(9)),
];

/// A launcher under load.
struct Soak<'a> {
    running: Running,
    runtime: PathBuf,
    network: Option<&'a Network>,
    chance: Chance,
    queues: usize,
}

/// The descriptors and threads, and the memory in KiB.
type AtWork = (Held, u64);

#[test]
#[ignore = "takes as long as SOAK_MINUTES says: make soak"]
fn random_actions_leak_nothing() {
    let (minutes, seed) = (environment::soak_minutes(), environment::soak_seed());
    eprintln!("SOAK_MINUTES={minutes} SOAK_SEED={seed}");
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let (network, mut chance) = (Network::new(), Chance::new(seed));
    let (mut launchers, mut actions) = (0, 0);
    while launchers == 0 || Instant::now() < end {
        let next = Chance::new(chance.below(u64::MAX));
        actions += soak(network.as_ref(), next, end);
        launchers += 1;
        eprintln!("{launchers} launchers, {actions} actions");
    }
}

/// Runs one launcher until it is ended or the time is over. Returns the number of actions.
fn soak(network: Option<&Network>, chance: Chance, end: Instant) -> u64 {
    let (scratch, before) = (Scratch::new(), hostile::contents());
    let disk = scratch.file("disk", &before);
    let (launch, devices) = hostile::with_devices("soak", &disk, network);
    let queues = devices.iter().map(|(_, count)| count).sum();
    let running = launch.piped();
    let runtime = scratch.path().to_path_buf();
    let mut soak = Soak { running, runtime, network, chance, queues };
    soak.lives();
    let flood = network.map(|_| Flood::gentle("192.168.77.255"));

    let at_first = soak.held();
    let mut done = 0;
    while done < ACTIONS && (done == 0 || Instant::now() < end) {
        let (what, action) = soak.chance.one_of(&ALL);
        eprintln!("{what}");
        action(&mut soak);
        soak.lives();
        done += 1;
    }
    soak.assert_holds(&at_first);
    let (what, action, wanted) = soak.chance.one_of(&ENDS);
    eprintln!("{what}");
    action(&mut soak);
    let ended = soak.running.wait();
    drop(flood);
    assert_eq!(ended, wanted, "{}", soak.running.stderr());
    soak.running.assert_no_process_left();
    let said = soak.running.stderr();
    let lines = said.lines().filter(|line| !line.contains("reset")).count();
    assert!(lines <= MOST_LINES, "{said}");
    hostile::assert_only_our_sector_is_written(&disk, &before);
    done
}

impl Soak<'_> {
    /// Waits until the guest prints something new. However slow the machine is, the guest needs a
    /// limited amount of CPU time for that; a guest that hangs uses none.
    #[track_caller]
    fn lives(&mut self) {
        let (from, process) = (self.running.text().len(), self.running.process());
        let mut lives = || {
            let ended = self.running.poll_end();
            assert!(ended.is_none(), "ended with {ended:?}: {}", self.running.stderr());
            self.running.text()[from..].contains(" lives\n").then_some(())
        };
        let begin = process.cpu_time();
        let mut before = begin;
        while within(patience(), &mut lives).is_none() {
            let now = process.cpu_time();
            let works = now - before > patience() / 100 && now - begin < patience() * 2;
            assert!(works, "the guest prints nothing more after {:?} of CPU time", now - begin);
            before = now;
        }
    }

    /// Runs a command, which must succeed.
    #[track_caller]
    fn tell(&mut self, words: &[&str]) {
        tests::lguest(&self.runtime, words).well();
    }

    /// Stops the launcher at a moment when all queues are busy, and returns what it holds then. (A
    /// paused guest has no queue threads.)
    #[track_caller]
    fn held(&mut self) -> AtWork {
        let (queues, process) = (self.queues, self.running.process());
        until("the launcher is stopped with all queues at work", || {
            process.signal(Signal::SIGSTOP);
            until("the launcher is stopped", || process.is_stopped().then_some(()));
            let held = Held::now(process);
            let memory = process.memory_beyond_guest();
            process.signal(Signal::SIGCONT);
            let work = held.threads.iter().filter(|name| is_queue(name)).count();
            (work == queues).then_some((held, memory))
        })
    }

    /// Asserts that the launcher holds as much as at first, once ending threads are gone.
    #[track_caller]
    fn assert_holds(&mut self, (at_first, memory): &AtWork) {
        let mut last = None;
        let same = within(patience(), || {
            let (held, now) = self.held();
            let same = held == *at_first && now.saturating_sub(*memory) < MOST_GROWTH;
            last = Some((held, now));
            same.then_some(())
        });
        assert!(same.is_some(), "{last:?} is more than {at_first:?} and {memory} KiB");
    }
}

/// Whether a thread of this name serves a queue, such as "net0-tx1".
fn is_queue(name: &str) -> bool {
    let devices = ["con0-", "blk0-", "rng0-", "net0-"];
    devices.iter().any(|device| name.starts_with(device))
}

fn pause(soak: &mut Soak<'_>) {
    soak.tell(&["pause", "guest"]);
    if soak.chance.below(2) == 0 {
        soak.tell(&["reset", "guest"]);
    }
    soak.tell(&["resume", "guest"]);
}

fn resize(soak: &mut Soak<'_>) {
    let [rows, columns] = [(); 2].map(|()| (1 + soak.chance.below(500)).to_string());
    soak.tell(&["resize", "guest", "0", &rows, &columns]);
}

fn type_words(soak: &mut Soak<'_>) {
    let length = 1 + soak.chance.below(5000);
    let words = "x".repeat(usize::try_from(length).unwrap_or(1));
    let said = tests::lguest(&soak.runtime, &["send", "guest", "0", &words]);
    // Either there is room for the text, or there is not.
    assert!(matches!(said.status, Some(0 | 75)), "{said:?}");
}

fn look(soak: &mut Soak<'_>) {
    for words in
        [&["log", "guest"][..], &["peek", "guest", "--json"], &["info", "guest"], &["list"]]
    {
        soak.tell(words);
    }
}

/// Attaches a client that watches, and then leaves or is killed.
fn attach(soak: &mut Soak<'_>) {
    let mut user = tests::console(&soak.runtime, &["guest", "0", "--read-only"]);
    user.expect_stderr("attached to guest");
    if soak.chance.below(2) == 0 {
        user.press(0x1d);
        assert_eq!(user.wait(), End::Status(0));
    } else {
        user.process().signal(Signal::SIGKILL);
        assert_eq!(user.wait(), End::Killed(9));
    }
}

/// Stops the launcher by SIGSTOP, and continues it by SIGCONT.
fn stop(soak: &mut Soak<'_>) {
    let process = soak.running.process();
    process.signal(Signal::SIGSTOP);
    until("the launcher is stopped", || process.is_stopped().then_some(()));
    process.signal(Signal::SIGCONT);
}

fn pull(soak: &mut Soak<'_>) {
    if let Some(network) = soak.network {
        network.ip("link set lg0 down");
        soak.lives();
        network.ip("link set lg0 up");
    }
}
