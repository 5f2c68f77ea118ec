//! Commands of clients for the main thread, and its answers: only the main thread has the guest.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use host::exit::Exit;
use wire::protocol::{Fault, FaultKind};

use crate::ending::Ending;
use crate::snapshot::save::{SaveRequest, Saved};

/// What the main thread does with the guest.
#[derive(Debug)]
pub(crate) enum GuestCommand {
    /// Pause the guest.
    Pause,
    /// Resume the guest.
    Resume,
    /// Press the guest's power button.
    PowerOff,
    /// Save the guest, and send what was written there.
    Save(SaveRequest, SyncSender<Saved>),
    /// Let a guest continue that was saved to be stopped, and is not stopped.
    Release {
        /// The guest was paused before it was saved.
        stay_paused: bool,
    },
}

/// The result of a command; an error has the reason.
type CommandResult = Result<(), String>;

/// A command, and where its result goes.
type CommandRequest = (GuestCommand, SyncSender<CommandResult>);

/// The receiving end of the commands, which the main thread has.
#[derive(Debug)]
pub(crate) struct CommandQueue {
    requests: Receiver<CommandRequest>,
    /// Senders that are dropped at the guest's end: their clients wait for it.
    waiting: RefCell<Vec<SyncSender<CommandResult>>>,
}

/// The sending end of the commands, which connections have.
#[derive(Debug)]
pub(crate) struct CommandSender {
    requests: Sender<CommandRequest>,
    exit: Arc<Exit<Ending>>,
}

/// Make both ends. A command wakes up the thread that waits for `exit`.
pub(super) fn new(exit: &Arc<Exit<Ending>>) -> (CommandQueue, CommandSender) {
    let (sender, receiver) = mpsc::channel();
    let queue = CommandQueue { requests: receiver, waiting: RefCell::default() };
    (queue, CommandSender { requests: sender, exit: Arc::clone(exit) })
}

impl CommandQueue {
    /// Carry out all pending commands.
    pub(crate) fn run_pending(&self, mut act: impl FnMut(GuestCommand) -> CommandResult) {
        for (command, answer) in self.requests.try_iter() {
            let is_power_off = matches!(command, GuestCommand::PowerOff);
            // The client may have left.
            let _ = answer.send(act(command));
            if is_power_off {
                self.waiting.borrow_mut().push(answer);
            }
        }
    }
}

impl CommandSender {
    /// Have the main thread carry out a command, and wait for the result. This may take as long as
    /// the guest's restart, if the guest is restarting.
    pub(super) fn run(&self, command: GuestCommand) -> Result<(), Fault> {
        let outcome = self.submit(command)?;
        match outcome.recv().map_err(|_| ending())? {
            Ok(()) => Ok(()),
            Err(why) => Err(Fault::new(FaultKind::Failed, why)),
        }
    }

    /// Have the main thread save the guest, and wait for the result.
    pub(super) fn save(&self, request: SaveRequest) -> Result<Saved, Fault> {
        let (sender, saved) = mpsc::sync_channel(1);
        self.run(GuestCommand::Save(request, sender))?;
        saved.recv().map_err(|_| ending())
    }

    /// Press the guest's power button, and end the guest if it has not ended within `grace`.
    /// Returns when the guest has ended, for whatever reason.
    pub(super) fn power_off(&self, grace: Duration) -> Result<(), Fault> {
        let (since, outcome) = (Instant::now(), self.submit(GuestCommand::PowerOff)?);
        loop {
            // The first result says that the button is pressed. Then the channel is silent, and it
            // is closed at the guest's end.
            match outcome.recv_timeout(grace.saturating_sub(since.elapsed())) {
                Ok(done) => done.map_err(|why| Fault::new(FaultKind::Failed, why))?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                // The time may be over before the button is pressed: a guest's restart may take
                // longer.
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        self.exit.end(Ending::Stopped);
        while outcome.recv().is_ok() {}
        Ok(())
    }

    /// Send a command. The returned channel has its result, and is closed afterwards.
    fn submit(&self, command: GuestCommand) -> Result<Receiver<CommandResult>, Fault> {
        let (answer, outcome) = mpsc::sync_channel(1);
        self.requests.send((command, answer)).map_err(|_| ending())?;
        self.exit.wake();
        Ok(outcome)
    }
}

fn ending() -> Fault {
    Fault::new(FaultKind::Ending, "the guest is about to end")
}
