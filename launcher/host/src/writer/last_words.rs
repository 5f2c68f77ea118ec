//! Waits for the last output at the end of a guest, or of a client's session at a console. The
//! terminal has to show the output in the state in which the guest printed it, but a slow reader
//! must not keep the user from the terminal, and a user who detaches does not wait.

use std::time::Duration;

use super::OutputWriter;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// How long the terminal may take to show what the guest printed last.
pub const ON_TERMINAL: Duration = Duration::from_millis(500);

/// How long to wait for what the guest printed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Do not wait, also not for the terminal's answers.
    None,
    /// Wait for [`ON_TERMINAL`] while the terminal is still ours.
    OnTerminal,
    /// Wait for this time again when the terminal is restored.
    Bounded(Duration),
    /// Wait until all output is written or a signal arrives.
    Unbounded,
}

/// Wait for these writers, and restore the terminal. Returns the number of the signal that ended
/// the wait.
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
