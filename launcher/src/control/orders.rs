//! What a client asks of the main thread, and how that answers: it alone has the
//! guest in its hands. Given by [`super::connection`], carried out in
//! [`crate::launch`].

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

use super::protocol::{Fault, Kind};
use crate::exit::Exit;

/// What to do with the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Have it stand still.
    Pause,
    /// Have it go on.
    Resume,
}

/// What became of it; an error has the reason.
type Outcome = Result<(), String>;

type Slip = (Order, SyncSender<Outcome>);

/// The main thread's end.
#[derive(Debug)]
pub(crate) struct Orders(Receiver<Slip>);

/// The other end.
#[derive(Debug)]
pub(crate) struct Reins {
    slips: Sender<Slip>,
    exit: Arc<Exit>,
}

/// Both ends; orders wake up who waits for `exit`.
pub(super) fn new(exit: &Arc<Exit>) -> (Orders, Reins) {
    let (slips, orders) = mpsc::channel();
    (Orders(orders), Reins { slips, exit: Arc::clone(exit) })
}

impl Orders {
    /// Carry out what there is.
    pub(crate) fn obey(&self, mut act: impl FnMut(Order) -> Outcome) {
        for (order, answer) in self.0.try_iter() {
            // Who asked may be gone.
            let _ = answer.send(act(order));
        }
    }
}

impl Reins {
    /// Have the main thread do it, and wait until it has: that may take as long as
    /// the guest's restart, if it is being restarted.
    pub(super) fn give(&self, order: Order) -> Result<(), Fault> {
        let ending = || Fault::new(Kind::Ending, "the guest is about to end");
        let (answer, outcome) = mpsc::sync_channel(1);
        self.slips.send((order, answer)).map_err(|_| ending())?;
        self.exit.wake();
        let outcome = outcome.recv().map_err(|_| ending())?;
        outcome.map_err(|why| Fault::new(Kind::Failed, why))
    }
}
