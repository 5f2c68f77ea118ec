//! What a client asks of the main thread, and how that answers: it alone has the
//! guest in its hands. Given by [`super::connection`], carried out in
//! [`crate::launch`].

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::Duration;

use super::protocol::{Fault, Kind};
use crate::exit::{Ending, Exit};

/// What to do with the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Have it stand still.
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
    exit: Arc<Exit>,
}

/// Both ends; orders wake up who waits for `exit`.
pub(super) fn new(exit: &Arc<Exit>) -> (Orders, Reins) {
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
        self.hand_over(order).map(drop)
    }

    /// Have the guest's power button pressed, and end the guest if it has not ended by
    /// itself within `grace`. Returns when it has ended, for whatever reason.
    pub(super) fn power_off(&self, grace: Duration) -> Result<(), Fault> {
        let ended = self.hand_over(Order::PowerOff)?;
        if ended.recv_timeout(grace) == Err(RecvTimeoutError::Timeout) {
            self.exit.end(Ending::Stopped);
            // Nobody says anything more; it is closed at the end.
            let _ = ended.recv();
        }
        Ok(())
    }

    /// The order is carried out; what its answer came from is closed when that has
    /// nothing more to say.
    fn hand_over(&self, order: Order) -> Result<Receiver<Outcome>, Fault> {
        let ending = || Fault::new(Kind::Ending, "the guest is about to end");
        let (answer, outcome) = mpsc::sync_channel(1);
        self.slips.send((order, answer)).map_err(|_| ending())?;
        self.exit.wake();
        match outcome.recv().map_err(|_| ending())? {
            Ok(()) => Ok(outcome),
            Err(why) => Err(Fault::new(Kind::Failed, why)),
        }
    }
}
