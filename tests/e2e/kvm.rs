//! Tests that run on any KVM, with the probe of `guest-images/guests`: a guest
//! of our own that does what its command line says.

mod attach;
mod check;
mod console;
mod consoles;
mod control;
mod detached;
mod disks;
mod endings;
mod hostile;
mod limits;
mod machine;
mod matrix;
mod names;
mod privilege;
mod ptys;
mod resets;
mod shells;
mod sockets;

use tests::{Launch, environment};

/// The probe, to do this.
fn probe(mode: &str) -> Launch {
    Launch::kernel(environment::probe()).memory("64").argument(&format!("mode={mode}"))
}
