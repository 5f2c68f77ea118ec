//! The last that a guest has printed is still to be written when it, or a client's stay at its
//! console, has ended. It belongs on the terminal in the state that the terminal had when it was
//! printed, but a slow reader must not keep the user from the terminal; and a user who wants to
//! leave does not wait.

use std::time::Duration;

use super::OutputWriter;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// How long the terminal may take to show what the guest printed last.
pub const ON_TERMINAL: Duration = Duration::from_millis(500);

/// How long to wait for what the guest printed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all, and not for the terminal's answers either.
    None,
    /// As long as the terminal is still ours: [`ON_TERMINAL`].
    OnTerminal,
    /// So long again when the terminal is given back.
    Bounded(Duration),
    /// Until it is written or a signal arrives.
    Unbounded,
}

/// Wait for these writers, and give the terminal back. Returns the signal that ended the wait.
pub fn finish(
    writers: &[OutputWriter],
    signals: &Signals,
    terminal: Option<&Terminal>,
    patience: Patience,
) -> Option<i32> {
    let finish = |bound| writers.iter().find_map(|writer| writer.finish(signals, bound));
    let is_patient = patience != Patience::None;
    let interrupted = finish(Some(if is_patient { ON_TERMINAL } else { Duration::ZERO }));
    if let Some(terminal) = terminal {
        if is_patient {
            terminal.await_answers();
        }
        terminal.leave();
    }
    match patience {
        Patience::None | Patience::OnTerminal => None,
        Patience::Bounded(bound) => interrupted.or_else(|| finish(Some(bound))),
        Patience::Unbounded => interrupted.or_else(|| finish(None)),
    }
}
