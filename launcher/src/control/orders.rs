//! What a client asks of the main thread, and how that answers: it alone has the
//! guest in its hands.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use host::exit::Exit;
use wire::protocol::{Fault, Kind};

use crate::ending::Ending;

/// What to do with the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Pause the guest.
    Pause,
    /// Have it go on.
    Resume,
    /// Press its power button.
    PowerOff,
}

/// What became of it; an error has the reason.
type Outcome = Result<(), String>;

type Slip = (Order, SyncSender<Outcome>);

/// The main thread's end.
#[derive(Debug)]
pub(crate) struct Orders {
    slips: Receiver<Slip>,
    /// Those who wait for the guest's end see it by these being gone.
    waiting: RefCell<Vec<SyncSender<Outcome>>>,
}

/// The other end.
#[derive(Debug)]
pub(crate) struct Reins {
    slips: Sender<Slip>,
    exit: Arc<Exit<Ending>>,
}

/// Both ends; orders wake up who waits for `exit`.
pub(super) fn new(exit: &Arc<Exit<Ending>>) -> (Orders, Reins) {
    let (slips, orders) = mpsc::channel();
    let orders = Orders { slips: orders, waiting: RefCell::default() };
    (orders, Reins { slips, exit: Arc::clone(exit) })
}

impl Orders {
    /// Carry out what there is.
    pub(crate) fn obey(&self, mut act: impl FnMut(Order) -> Outcome) {
        for (order, answer) in self.slips.try_iter() {
            // Who asked may be gone.
            let _ = answer.send(act(order));
            if order == Order::PowerOff {
                self.waiting.borrow_mut().push(answer);
            }
        }
    }
}

impl Reins {
    /// Have the main thread do it, and wait until it has: that may take as long as
    /// the guest's restart, if it is being restarted.
    pub(super) fn give(&self, order: Order) -> Result<(), Fault> {
        let outcome = self.hand_over(order)?;
        match outcome.recv().map_err(|_| ending())? {
            Ok(()) => Ok(()),
            Err(why) => Err(Fault::new(Kind::Failed, why)),
        }
    }

    /// Have the guest's power button pressed, and end the guest if it has not ended by
    /// itself within `grace`. Returns when it has ended, for whatever reason.
    pub(super) fn power_off(&self, grace: Duration) -> Result<(), Fault> {
        let (since, outcome) = (Instant::now(), self.hand_over(Order::PowerOff)?);
        loop {
            // First that it is pressed; then nothing more, and it is closed at the end.
            match outcome.recv_timeout(grace.saturating_sub(since.elapsed())) {
                Ok(done) => done.map_err(|why| Fault::new(Kind::Failed, why))?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                // Also if it is not pressed yet: a guest's restart may take longer.
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        self.exit.end(Ending::Stopped);
        while outcome.recv().is_ok() {}
        Ok(())
    }

    /// Where the answer comes from; it is closed when there is nothing more to say.
    fn hand_over(&self, order: Order) -> Result<Receiver<Outcome>, Fault> {
        let (answer, outcome) = mpsc::sync_channel(1);
        self.slips.send((order, answer)).map_err(|_| ending())?;
        self.exit.wake();
        Ok(outcome)
    }
}

fn ending() -> Fault {
    Fault::new(Kind::Ending, "the guest is about to end")
}
