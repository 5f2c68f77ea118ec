//! A launcher whose guest is a thread that prints what it reads and obeys a few
//! words. The launcher is this test binary, started again with [`SWITCH`] in its
//! environment. Its code runs before the test harness has started a thread:
//! for the terminal and for signals, it is like the real launcher.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process;
use std::sync::Arc;
use std::time::Duration;
use std::{env, panic, thread};

use devices::queue_thread::panic_message;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;

use crate::exit::{End, Exit, Interruption};
use crate::input::InputPipe;
use crate::messages;
use crate::output::{OutputRing, Sink};
use crate::privilege::PrivilegeDrop;
use crate::signals::Signals;
use crate::stdin;
use crate::terminal::{self, Terminal, sys};
use crate::writer::OutputWriter;

/// The variable in the environment of a fake launcher.
pub(crate) const SWITCH: &str = "LGUEST_FAKE_LAUNCHER";

/// The value of [`SWITCH`] for a launcher that reads lines of a terminal, as for a command without
/// `--tty`.
pub(crate) const COOKED: &str = "cooked";

/// How the fake guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FakeEnding {
    PoweredOff,
    CtrlC,
    Signal(i32),
    Failed(String),
}

impl End for FakeEnding {}

impl From<Interruption> for FakeEnding {
    fn from(interruption: Interruption) -> Self {
        match interruption {
            Interruption::CtrlC => Self::CtrlC,
            Interruption::Signal(number) => Self::Signal(number),
            Interruption::Failed(why) => Self::Failed(why),
        }
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

#[expect(clippy::exit, reason = "this process has no main to return to")]
extern "C" fn before_main() {
    if env::var_os(SWITCH).is_some() {
        process::exit(panic::catch_unwind(launch).unwrap_or(99));
    }
    // A shell's job in the background ignores the first two, and nohup the third. Launchers that
    // tests start must not inherit that.
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
        let _ = sys::by_default(signal);
    }
}

fn launch() -> i32 {
    // Some tests crash it on purpose.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
    messages::start(true);
    terminal::install_panic_hook();
    let signals = Signals::block().unwrap();
    let cooked = env::var_os(SWITCH).is_some_and(|kind| kind == COOKED);
    let terminal = (!cooked).then(|| Terminal::on_stdin(&PrivilegeDrop::default()).unwrap());
    let terminal = terminal.flatten();
    let exit = Arc::new(Exit::new().unwrap());
    let input = Arc::new(InputPipe::new().unwrap());
    stdin::start(&input, &exit, terminal.as_ref()).unwrap();
    let output = OutputRing::new().unwrap();
    let stdout = OutputWriter::to_stdout(&output, terminal.as_ref()).unwrap();
    let mut sink = output.sink();
    // Read before the test sees output, and changes the size.
    let mut size = terminal::size();
    let ours = terminal.as_ref().is_some_and(|terminal| terminal.enter().unwrap());
    sink.write_all(if ours { b"ready, raw\r\n" } else { b"ready\r\n" }).unwrap();

    let input = input.guest_end().unwrap();
    let (to_guest, theirs) = (output.sink(), Arc::clone(&exit));
    let guest = thread::Builder::new().name("guest".into());
    guest.spawn(move || run_guest(input, to_guest, &theirs)).unwrap();
    let resized = || {
        let now = terminal::size();
        if let Some((columns, rows)) = now.filter(|_| now != size) {
            write!(sink, "size {columns}x{rows}\r\n").unwrap();
        }
        size = now;
    };
    let ending = signals.wait(&exit, terminal.as_ref(), None, resized).unwrap();

    messages::say(&format!("the guest has ended: {ending:?}"));
    let cut_short = stdout.finish(&signals, Some(Duration::from_secs(1)));
    drop(terminal);
    let bound = (ending != FakeEnding::PoweredOff).then_some(Duration::from_secs(1));
    let cut_short = cut_short.or_else(|| stdout.finish(&signals, bound));
    messages::say(&format!("the end: {ending:?}"));
    match cut_short.map_or(ending, FakeEnding::Signal) {
        FakeEnding::PoweredOff => 0,
        FakeEnding::CtrlC => 130,
        FakeEnding::Signal(signal) => 128 + signal,
        FakeEnding::Failed(_) => 1,
    }
}

fn run_guest(mut input: File, mut output: Sink, exit: &Arc<Exit<FakeEnding>>) {
    let mut buffer = [0; 1 << 12];
    loop {
        let length = input.read(&mut buffer).unwrap();
        if length == 0 {
            return exit.end(FakeEnding::Failed("the guest's input has ended".into()));
        }
        let bytes = &buffer[..length];
        let said = |word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
        output.write_all(bytes).unwrap();
        if said("<flood>") {
            flood(&mut output).unwrap();
        }
        if said("<off>") {
            exit.end(FakeEnding::PoweredOff);
        } else if said("<panic>") {
            let vcpu = thread::Builder::new().name("vcpu7".into());
            let panic = vcpu.spawn(|| panic!("as told")).unwrap().join().unwrap_err();
            exit.end(FakeEnding::Failed(format!("vcpu7: {}", panic_message(panic.as_ref()))));
        } else if said("<abort>") {
            process::abort();
        } else if said("<segv>") {
            kill(getpid(), Signal::SIGSEGV).unwrap();
        } else if said("<log>") {
            log::warn!("in one line");
        } else if said("<hang>") {
            thread::sleep(Duration::from_secs(3600));
        }
    }
}

/// Print four MiB of numbered lines.
fn flood(output: &mut Sink) -> io::Result<()> {
    output.write_all(b"\n")?;
    (0..1 << 18).try_for_each(|line| writeln!(output, "{line:015}"))
}
